"""Initialisation schemes: their variances, for any activation; paired draws; what they do to a deep network."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from hillock.activations import moments
from hillock.errors import ModelError, UnknownNameError, UsageError
from hillock.layers.initialisation import SCHEMES, fans, gain_of, initialise
from hillock.layers.initialisation_data import lsuv
from hillock.layers.local import LocallyConnected2d
from hillock.networks import network


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "silu", "elu"])
@pytest.mark.parametrize(
    ("scheme", "variance"),
    [
        ("lecun", lambda f, gain: 1 / f.fan_in),
        ("xavier", lambda f, gain: 2 / (f.fan_in + f.fan_out)),
        ("xavier_normal", lambda f, gain: 2 / (f.fan_in + f.fan_out)),
        ("he", lambda f, gain: gain**2 / f.fan_in),
        ("he_out", lambda f, gain: gain**2 / f.fan_out),
        ("he_uniform", lambda f, gain: gain**2 / f.fan_in),
        ("normal", lambda f, gain: 1e-4),
    ],
)
def test_variance_is_the_scheme_s(scheme: str, variance: object, activation: str) -> None:
    for layer in (nn.Linear(300, 200), nn.Conv2d(32, 64, 3, groups=2), LocallyConnected2d(16, 8, (6, 6), 3)):
        initialise(layer, scheme, activation=activation, seed=1)
        expected = variance(fans(layer), moments.gain(activation))  # type: ignore[operator]
        # The mean of n squares of a normal or uniform law has relative spread at most sqrt(2/n); 5 of them.
        assert layer.weight.square().mean().item() == pytest.approx(
            expected, rel=5 * math.sqrt(2 / layer.weight.numel())
        )
        assert not layer.bias.any()


@pytest.mark.parametrize("shape", [(40, 90), (90, 40)])
def test_orthogonal_rows_or_columns(shape: tuple[int, int]) -> None:
    layer = nn.Linear(shape[1], shape[0])
    initialise(layer, "orthogonal", activation="tanh", seed=2)
    weight = layer.weight.detach() / moments.gain("tanh")
    product = weight @ weight.T if shape[0] < shape[1] else weight.T @ weight
    torch.testing.assert_close(product, torch.eye(min(shape)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "elu", "selu", "silu", "softplus"])
def test_he_s_scheme_keeps_the_second_moment_through_ten_layers_of_any_activation(activation: str) -> None:
    net = network("mlp11", width=1000, activation=activation, input_channels=1, image_size=32, seed=3)
    x = torch.randn(200, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        second = net.hidden[:-1](net.flatten(x)).square().mean()  # of what the tenth activation is given
        initialise(net, "normal", std=0.01)  # the planted fault
        small = net.hidden[:-1](net.flatten(x)).square().mean()
    # Each of the ten layers strays by a few per cent at width 1000, and GELU and SiLU amplify what has strayed.
    assert 0.6 < float(second) < 1.6
    assert activation == "softplus" or float(small) < 0.1


def test_the_gain_of_any_elementwise_module_is_measured() -> None:
    class Cubed(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x**3

    assert gain_of(Cubed()) == pytest.approx(1 / math.sqrt(15), rel=1e-5)  # E[z^6] = 15
    assert gain_of(nn.ReLU()) == pytest.approx(math.sqrt(2), rel=1e-9)
    assert gain_of("leaky_relu", negative_slope=1.0) == pytest.approx(1, rel=1e-9)


def test_a_parameter_s_draw_depends_on_its_name_alone() -> None:
    shallow, deep = network("mlp3", width=20, image_size=8, seed=7), network("mlp9", width=20, image_size=8, seed=7)
    assert torch.equal(shallow.hidden.linear2.weight, deep.hidden.linear2.weight)
    assert not torch.equal(deep.hidden.linear2.weight, deep.hidden.linear3.weight)


def test_alexnet_s_constants() -> None:
    net = network("alexnet", image_size=67, width=0.2)
    biases = {name.split(".")[-2]: p.mean().item() for name, p in net.named_parameters() if name.endswith("bias")}
    assert biases == {"conv1": 0, "conv2": 1, "conv3": 0, "conv4": 1, "conv5": 1, "fc6": 1, "fc7": 1, "fc8": 0}
    source = network("alexnet_source", image_size=67, width=0.2)
    spreads = {name.split(".")[-2]: p.std().item() for name, p in source.named_parameters() if p.dim() > 1}
    expected = {"conv1": 0.01, "conv2": 0.01, "conv3": 0.03, "conv4": 0.03, "conv5": 0.03, "fc6": 0.01, "fc7": 0.01}
    assert spreads == pytest.approx({**expected, "fc8": 0.01}, rel=0.05)


def test_zero_gamma_starts_every_unit_as_its_shortcut() -> None:
    net = network("resnet14", initialisation="he_zero_gamma").eval()
    x = torch.randn(2, 16, 8, 8, generator=torch.Generator().manual_seed(0)).relu()
    unit = net.stages[0][1]
    assert torch.equal(unit(x), x)
    with pytest.raises(ModelError):
        network("plain8", initialisation="he_zero_gamma")
    with pytest.raises(ModelError):
        network("resnet8", normalisation="none", initialisation="he_zero_gamma")


@pytest.mark.parametrize("depth", [8, 110])
@pytest.mark.parametrize("normalisation", ["fixup", "skipinit"])
def test_networks_without_normalisation_start_as_their_shortcuts_and_train(depth: int, normalisation: str) -> None:
    net = network(f"resnet{depth}", normalisation=normalisation, image_size=8)
    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        signal = net.stem(x)
        at_depth = net.stages(signal).square().mean() / signal.square().mean()
    assert 0.05 < float(at_depth) < 1.5  # subsampling and zero channels change it a little, depth does not
    for _ in range(2):  # Fixup's zero layers let the gradient reach everything only after a first step
        loss = nn.functional.cross_entropy(net(x), torch.arange(4))
        net.zero_grad()
        loss.backward()
        with torch.no_grad():
            for parameter in net.parameters():
                parameter -= 0.1 * parameter.grad
    loss = nn.functional.cross_entropy(net(x), torch.arange(4))
    net.zero_grad()
    loss.backward()
    assert all(float(parameter.grad.abs().max()) > 0 for parameter in net.parameters())


def test_fixup_shrinks_the_first_convolution_of_a_branch() -> None:
    he = network("resnet20", normalisation="fixup", initialisation="he", seed=1)
    fixup = network("resnet20", normalisation="fixup", seed=1)
    ratio = fixup.stages[0][0].branch.conv1.weight / he.stages[0][0].branch.conv1.weight
    torch.testing.assert_close(ratio, torch.full_like(ratio, 9 ** (-1 / 2)))  # L = 9 branches of m = 2
    assert fixup.stages[0][0].branch.conv2.weight.abs().max() == 0
    assert fixup.head.weight.abs().max() == 0


def test_unknown_schemes_and_options_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="xavier"):
        initialise(nn.Linear(2, 2), "xaiver")
    with pytest.raises(UsageError, match="std"):
        initialise(nn.Linear(2, 2), "normal", spread=1.0)


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
def test_every_scheme_fills_a_residual_network(scheme: str) -> None:
    net = network("resnet8", normalisation="fixup" if scheme == "fixup" else "batch", initialisation=scheme)
    assert all(parameter.isfinite().all() for parameter in net.parameters())


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "softplus", "sigmoid"])
@pytest.mark.parametrize("name", ["plain14", "mlp9"])
def test_lsuv_gives_every_layer_unit_variance_whatever_the_activation(name: str, activation: str) -> None:
    options = {"normalisation": "none", "image_size": 8}
    net = network(name, activation=activation, **options, **({"width": 8} if name == "plain14" else {}))
    x = torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    before = torch.random.get_rng_state()
    found = lsuv(net, x, seed=1)
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(0.9 < deviation < 1.1 for deviation in found.values())
    deviations = []
    for module in net.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            module.register_forward_hook(lambda module, given, output: deviations.append(output.std().item()))
    with torch.no_grad():
        net(x)
    assert deviations == pytest.approx([1.0] * len(found), abs=0.1)
    again = network(name, activation=activation, **options, **({"width": 8} if name == "plain14" else {}), seed=9)
    lsuv(again, x, seed=1)
    assert all(torch.equal(one, other) for one, other in zip(net.parameters(), again.parameters(), strict=True))


def test_lsuv_restores_buffers_and_names_constant_layers() -> None:
    net = network("resnet8", image_size=8).eval()
    x = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    before = net.stem.norm1.running_mean.clone()
    lsuv(net, x)
    assert torch.equal(net.stem.norm1.running_mean, before)
    assert not net.training
    with pytest.raises(ModelError, match="constant outputs of 0"):
        lsuv(nn.Sequential(nn.Linear(4, 3)), torch.zeros(5, 4))
