"""Names, options and initial weights of networks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from hillock.errors import UnknownNameError, UsageError
from hillock.networks import names, network


def test_near_misses_of_a_name_are_listed() -> None:
    with pytest.raises(UnknownNameError, match="resnet20"):
        network("resent20")


@pytest.mark.parametrize("name", ["resnet", "alexnet7", "mlp0", "RESNET20", "resnet020", "", "20"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(UnknownNameError):
        network(name)


def test_near_misses_of_an_option_are_listed() -> None:
    with pytest.raises(UnknownNameError, match="normalisation"):
        network("mlp3", normalization="batch")


def test_a_depth_between_the_formula_s_depths_names_its_neighbours() -> None:
    with pytest.raises(UsageError, match="20 or 26"):
        network("resnet21")


@pytest.mark.parametrize("name", ["plain8", "mlp2"])
def test_an_option_of_another_family_is_refused(name: str) -> None:
    with pytest.raises(UnknownNameError):
        network(name, join="identity")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet8", {"input_channels": 1, "image_size": 8}),
        ("resnet8", {"input_channels": 1, "image_size": 28}),
        ("resnet8", {"image_size": 96}),
        ("plain8", {"image_size": 8}),
        ("preresnet8", {"image_size": 8}),
        ("resnet18", {"image_size": 96, "width": 8}),
        ("resnet18", {"image_size": 8, "width": 8}),
        ("mlp20", {"input_channels": 1, "image_size": 8}),
        ("mlp20", {"input_channels": 1, "image_size": 8, "normalisation": "batch"}),
        ("alexnet", {"image_size": 67, "width": 0.1}),
        ("resnet8", {"normalisation": "none"}),
        ("resnet8", {"normalisation": "fixup", "initialisation": "he"}),
        ("preresnet8", {"normalisation": "skipinit"}),
    ],
)
def test_any_sensible_input_size_runs_forward_and_backward(name: str, options: dict[str, object]) -> None:
    net = network(name, num_classes=4, **options)
    logits = net(torch.randn(2, *net.input_size, generator=torch.Generator().manual_seed(0)))
    assert logits.shape == (2, 4)
    logits.square().sum().backward()
    without = [name for name, parameter in net.named_parameters() if parameter.grad is None]
    assert not without


def test_alexnet_refuses_pictures_that_its_poolings_cannot_take() -> None:
    network("alexnet", image_size=36, width=0.05)
    with pytest.raises(UsageError, match="36"):
        network("alexnet", image_size=35)
    with pytest.raises(UsageError, match="67"):
        network("alexnet_slim", image_size=66)


def test_name_and_options_rebuild_the_network_bit_for_bit() -> None:
    net = network("resnet8", activation="gelu", num_classes=7, input_channels=1, image_size=8, seed=5, fit="B")
    again = network(net.name, **net.options)
    for (name, value), (other_name, other) in zip(net.state_dict().items(), again.state_dict().items(), strict=True):
        assert name == other_name
        assert torch.equal(value, other)


def test_networks_that_differ_only_in_activation_share_their_draws() -> None:
    relu, tanh = network("resnet8", seed=3), network("resnet8", activation="tanh", seed=3)
    for (name, one), (_, other) in zip(relu.named_parameters(), tanh.named_parameters(), strict=True):
        if one.dim() > 1:  # equal up to the gains' ratio
            ratio = (one / other).flatten()
            torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio), rtol=1e-5, atol=0, msg=name)
    assert not torch.equal(network("resnet8", seed=4).head.weight, relu.head.weight)


def test_building_moves_no_global_generator() -> None:
    before = torch.random.get_rng_state()
    for name in ("resnet8", "mlp3", "preresnet8"):
        network(name, initialisation="orthogonal")
    assert torch.equal(before, torch.random.get_rng_state())


def test_every_activation_site_has_a_module_of_its_own() -> None:
    made: list[nn.Module] = []

    def fresh() -> nn.Module:
        made.append(nn.ReLU())
        return made[-1]

    net = network("resnet20", activation=fresh)
    calls: list[nn.Module] = []
    for module in net.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(lambda module, given, output: calls.append(module))
    net(torch.zeros(1, 3, 32, 32))
    assert len(calls) == len(set(calls)) == 19  # one after each convolution


def test_one_module_for_all_sites_is_refused() -> None:
    with pytest.raises(UsageError, match="lambda"):
        network("resnet8", activation=nn.ReLU())


def test_every_listed_name_builds() -> None:
    for name in names():  # the deepest ones are built where their parameters are counted
        if not name.endswith(("1001", "1202")):
            with torch.device("meta"):
                net = network(name)
            assert net.name == name


@pytest.mark.parametrize(
    ("name", "options", "side"),
    [
        ("resnet18", {}, 224),
        ("plain34", {}, 224),
        ("preresnet200", {}, 224),
        ("resnet18", {"image_size": 96}, 96),
        ("resnet20", {}, 32),
        ("resnet164", {"width": 4}, 32),
        ("alexnet", {"width": 0.05}, 227),
    ],
)
def test_pictures_have_the_papers_size_by_default(name: str, options: dict[str, Any], side: int) -> None:
    assert network(name, **options).input_size == (3, side, side)
