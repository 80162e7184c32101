"""One law over the product: every network, small, with every pointwise activation of the catalogue.

Forward and backward run for the whole product. Compilation, export, autocast and channels-last run for every network
with representatives of the activations: what differs there is the network's own code.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hillock.activations import Activation, catalogue
from hillock.layers.activation_layer import activation as activation_layer
from hillock.networks import Network, network
from hillock.networks.catalogue import FAMILIES

SMALL: dict[str, dict[str, Any]] = {
    "mlp4": {"width": 16, "image_size": 6},
    "resnet8": {"width": 4, "image_size": 8},
    "resnet14": {"width": 4, "image_size": 8, "normalisation": "fixup"},
    # 16 pixels: the last maps are of one pixel, on which a convolution of stride 2 went wrong in bfloat16.
    "resnet18": {"width": 4, "image_size": 16},
    "resnet20": {
        "width": 4,
        "image_size": 8,
        "fit": "C",
        "order": "act_only_preactivation",
        "join": "exclusive_gate",
        "initialisation": "he_out",
    },
    "plain8": {"width": 4, "image_size": 8},
    "preresnet8": {"width": 4, "image_size": 8, "normalisation": "skipinit"},
    "preresnet11": {"width": 4, "image_size": 8, "block": "bottleneck"},
    "fast_cifar": {"width": 0.1, "directions": 4, "image_size": 12},
    "four_layer": {"channels": 6, "image_size": 8},
    "selu8": {"width": 16, "image_size": 6},
    "maxout": {"width": 0.1, "image_size": 6},
    "maxout_conv": {"width": 0.05, "image_size": 16, "initialisation": "he"},
    "gcnn8": {"width": 0.01, "image_size": 6},
    "alexnet": {"width": 0.05, "image_size": 36, "initialisation": "he"},
    "alexnet_source": {"width": 0.05, "image_size": 36, "initialisation": "he"},
    "alexnet_torchvision": {"width": 0.05, "image_size": 67},
}
POINTWISE = [name for name, entry in catalogue().items() if isinstance(entry, Activation)]
FASTER_THAN_LINEAR = {name for name in POINTWISE if activation_layer(name)(torch.tensor([1e4, -1e4])).abs().max() > 1e6}
BOUNDED = {name for name in POINTWISE if activation_layer(name)(torch.tensor([1e4, -1e4])).abs().max() < 100}


def activations(name: str) -> list[str]:
    """What a network is tried with: maxout has no place for another function."""
    return ["maxout"] if name.startswith("maxout") else POINTWISE


def representatives(name: str) -> list[str]:
    """One piecewise, one smooth, one learned; as gates, whose values multiply from block to block, bounded ones."""
    if name.startswith("maxout"):
        return ["maxout"]
    return ["hard_sigmoid", "sigmoid"] if name.startswith("gcnn") else ["relu", "gelu", "prelu"]


NEVER_TRAINED = {
    "fast_cifar": {"whiten.weight", *(f"groups.{group}.norm{place}.weight" for group in (1, 2, 3) for place in (1, 2))}
}


def stays_finite(name: str, activation: str) -> bool:
    """x³ after x³ after x³ overflows, and so does a product of unbounded gates over blocks."""
    return activation not in FASTER_THAN_LINEAR and not (name.startswith("gcnn") and activation not in BOUNDED)


def small(name: str, activation: str) -> tuple[Network, Tensor]:
    net = network(name, activation=activation, num_classes=5, **SMALL[name])
    draws = torch.Generator().manual_seed(0)
    if net.input_dtype == torch.int64:
        return net, torch.randint(5, (2, *net.input_size), generator=draws)
    return net, torch.randn(2, *net.input_size, generator=draws)


def test_few_activations_grow_faster_than_linearly() -> None:
    assert {"cube", "squared_relu"} <= FASTER_THAN_LINEAR
    assert len(FASTER_THAN_LINEAR) <= 3


def test_every_family_is_a_subject() -> None:
    def stem(name: str) -> str:
        fitting = [family.stem for family in FAMILIES if name.startswith(family.stem)]
        return max(fitting, key=len)

    covered = {stem(name) for name in SMALL}
    alike = {
        "gcnn13",
        "gcnn14",
        "gcnn14b",
        "alexnet_ungrouped",
        "alexnet_half",
        "alexnet_slim",
    }  # other numbers, same code
    assert {family.stem for family in FAMILIES} - alike <= covered


@pytest.mark.parametrize("name", SMALL)
def test_forward_and_backward_with_every_activation(name: str) -> None:
    for activation in activations(name):
        net, x = small(name, activation)
        logits = net(x)
        assert logits.shape[0] == 2, activation
        assert logits.shape[-1] == 5, activation
        if not stays_finite(name, activation):
            continue
        assert logits.isfinite().all(), activation
        nn.functional.cross_entropy(logits.flatten(0, -2), torch.zeros(logits.shape[:-1].numel(), dtype=int)).backward()
        for path, parameter in net.named_parameters():
            if path in NEVER_TRAINED.get(name, ()):
                assert parameter.grad is None, (activation, path)
                continue
            assert parameter.grad is not None, (activation, path)
            assert parameter.grad.isfinite().all(), (activation, path)


@pytest.mark.parametrize("name", SMALL)
def test_compiles_as_one_graph_and_exports(name: str) -> None:
    net, x = small(name, representatives(name)[-1])
    net.eval()
    with torch.no_grad():
        expected = net(x)
        exported = torch.export.export(net, (x,)).module()(x)
    compiled = torch.compile(net, fullgraph=True, backend="eager")(x)
    scale = max(1.0, expected.abs().max().item())
    torch.testing.assert_close(exported, expected, rtol=1e-4, atol=1e-5 * scale)
    torch.testing.assert_close(compiled, expected, rtol=1e-4, atol=1e-5 * scale)
    compiled.sum().backward()
    torch.compiler.reset()


@pytest.mark.parametrize("name", SMALL)
def test_bfloat16_autocast_and_channels_last(name: str) -> None:
    for activation in representatives(name):
        net, x = small(name, activation)
        net.eval()
        expected = net(x)
        if x.dim() == 4:
            net, x = net.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
            torch.testing.assert_close(net(x), expected, rtol=1e-3, atol=1e-3 * max(1.0, expected.abs().max().item()))
        with torch.autocast("cpu", torch.bfloat16):
            rough = net(x)
        # bfloat16 rounds to 2^-9; some ten layers add their roundings up, deep networks without a norm most.
        assert (rough.float() - expected).abs().max() <= 0.15 * expected.abs().max() + 1e-3, activation
        rough.float().square().sum().backward()
        trained = [p for path, p in net.named_parameters() if path not in NEVER_TRAINED.get(name, ())]
        assert all(parameter.grad.isfinite().all() for parameter in trained), activation


@pytest.mark.filterwarnings("ignore:.*script_method.*:DeprecationWarning")  # the compiler's own import
def test_one_network_compiles_with_the_default_backend() -> None:
    net, x = small("resnet8", "gelu")
    compiled = torch.compile(net, fullgraph=True)
    expected = net.eval()(x)
    torch.testing.assert_close(compiled(x), expected, rtol=1e-4, atol=1e-5)
    assert math.isfinite(compiled(x).sum().item())
    torch.compiler.reset()
