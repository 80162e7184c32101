"""The identity tests of the pre-activation paper: what the shortcut alone passes on, forward and backward."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hillock.errors import UnknownNameError
from hillock.layers.residual import JOINS, ORDERS
from hillock.layers.shortcut import PaddedShortcut
from hillock.networks import network
from hillock.networks.resnet import ResNet


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def with_zero_branches(name: str, **options: object) -> ResNet:
    """A network whose branches end in a zero convolution (and so, before a norm, in that norm's bias of 0)."""
    net = network(name, **options)
    assert isinstance(net, ResNet)
    with torch.no_grad():
        for unit in net.residual_units():
            last = [module for module in unit.branch if isinstance(module, nn.Conv2d)][-1]
            last.weight.zero_()
    return net.double().eval()


@pytest.mark.parametrize("depth", [20, 164])
def test_a_pre_activation_stack_with_zeroed_branches_is_the_identity(depth: int) -> None:
    net = with_zero_branches(f"preresnet{depth}", image_size=8)
    x = drawn(2, net.layout.widths[0] * net.layout.expansion, 8, 8)
    units = list(net.stages[0])[1:]  # a stage's first unit has an activation before both of its paths
    signal = x
    for unit in units:
        signal = unit(signal)
    assert len(units) == depth // (9 if depth == 164 else 6) - 1
    assert torch.equal(signal, x)


def test_an_original_stack_with_zeroed_branches_is_relu() -> None:
    net = with_zero_branches("resnet20", image_size=8)
    x = drawn(2, 16, 8, 8)
    assert torch.equal(net.stages[0](x), x.relu())


@pytest.mark.parametrize(
    ("scale", "units", "expected"), [(0.5, 54, 0.5**54), (0.9, 1000, 1.7479e-46), (0.99, 1000, 4.3171e-5)]
)
def test_a_scaled_shortcut_shrinks_as_a_power_of_its_depth(scale: float, units: int, expected: float) -> None:
    join = JOINS["scaling"](1)
    join.shortcut_scale = scale
    x = signal = drawn(4).requires_grad_()
    for _ in range(units):
        signal = join(signal, torch.zeros_like(signal))
    torch.testing.assert_close(signal / x, torch.full_like(x, expected), rtol=1e-4, atol=0)
    signal.sum().backward()  # the gradient of the identity path shrinks alike
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.full_like(x, expected), rtol=1e-4, atol=0)


def test_resnet110_with_half_shortcuts_passes_on_half_to_the_54th() -> None:
    net = with_zero_branches("resnet110", join="scaling", image_size=8, width=2)
    x = drawn(1, 2, 8, 8).abs()
    deep = net.stages(x)
    # Two subsamplings of option A keep every fourth pixel, zero channels stay zero, ReLU leaves positive values alone.
    torch.testing.assert_close(deep[:, :2], 0.5**54 * x[:, :, ::4, ::4], rtol=1e-12, atol=0)
    assert not deep[:, 2:].any()


def test_a_gradient_through_identities_reaches_the_bottom_undiminished() -> None:
    net = with_zero_branches("preresnet164", image_size=8)
    x = drawn(1, 64, 8, 8).requires_grad_()
    signal = x
    for unit in list(net.stages[0])[1:]:
        signal = unit(signal)
    signal.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, torch.ones_like(x))


@pytest.mark.parametrize("join", ["exclusive_gate", "shortcut_gate"])
def test_a_closed_gate_lets_the_shortcut_through(join: str) -> None:
    layer = JOINS[join](3)
    nn.init.zeros_(layer.gate.weight)
    nn.init.constant_(layer.gate.bias, -6.0)
    x, branch = drawn(2, 3, 4, 4).float(), drawn(2, 3, 4, 4).float() * 2
    opened = 1 / (1 + torch.tensor(6.0).exp())
    expected = (1 - opened) * x + (opened if join == "exclusive_gate" else 1) * branch
    torch.testing.assert_close(layer(x, branch), expected)


def test_gates_start_with_the_paper_s_bias() -> None:
    net = network("resnet8", join="exclusive_gate")
    assert all((unit.join.gate.bias == -6).all() for unit in net.residual_units())


def test_shortcut_dropout_drops_shortcuts_alone() -> None:
    layer = JOINS["dropout"](1)
    torch.manual_seed(0)
    kept = layer(torch.ones(10_000), torch.full((10_000,), 5.0))
    assert set(kept.unique().tolist()) == {5.0, 7.0}
    assert layer.eval()(torch.ones(3), torch.zeros(3)).tolist() == [1.0, 1.0, 1.0]


def test_option_a_subsamples_and_appends_zeros() -> None:
    x = drawn(1, 2, 6, 6)
    y = PaddedShortcut(2, 5, stride=2)(x)
    assert torch.equal(y[:, :2], x[:, :, ::2, ::2])
    assert not y[:, 2:].any()
    assert y.shape == (1, 5, 3, 3)


@pytest.mark.parametrize("order", sorted(ORDERS))
@pytest.mark.parametrize("join", [*sorted(JOINS), None])
def test_the_whole_ablation_space_runs_and_reaches_every_parameter(order: str, join: str | None) -> None:
    net = (
        network("resnet14", order=order, join=join, image_size=8, width=4)
        if join
        else network("plain14", order=order, image_size=8, width=4)
    )
    logits = net(drawn(4, 3, 8, 8).float())
    logits.square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in net.parameters())


@pytest.mark.parametrize(
    ("order", "first", "later"),
    [  # a basic unit's parts along its branch, and after the addition (1603.05027, figure 4)
        ("original", "conv1 norm1 act1 conv2 norm2 | act2", "conv1 norm1 act1 conv2 norm2 | act2"),
        ("norm_after_addition", "conv1 norm1 act1 conv2 | norm2 act2", "conv1 norm1 act1 conv2 | norm2 act2"),
        ("act_before_addition", "conv1 norm1 act1 conv2 norm2 act2 |", "conv1 norm1 act1 conv2 norm2 act2 |"),
        ("act_only_preactivation", "act1 / conv1 norm1 act2 conv2 norm2 |", "act1 conv1 norm1 act2 conv2 norm2 |"),
        ("preactivation", "norm1 act1 / conv1 norm2 act2 conv2 |", "norm1 act1 conv1 norm2 act2 conv2 |"),
    ],
)
def test_units_have_the_paper_s_order(order: str, first: str, later: str) -> None:
    def parts(unit: nn.Module) -> str:
        common, branch, after = (
            " ".join(dict(part.named_children())) for part in (unit.common, unit.branch, unit.after)
        )
        return f"{f'{common} / ' if common else ''}{branch} | {after}".strip()

    net = network("resnet14", order=order)
    assert [parts(unit) for unit in net.stages[0]] == [first, later]


@pytest.mark.parametrize("depth", [20, 34])
def test_plain_twins_have_as_many_parameters_as_option_a(depth: int) -> None:
    options = {} if depth == 20 else {"num_classes": 1000}
    with torch.device("meta"):
        plain, residual = network(f"plain{depth}", **options), network(f"resnet{depth}", fit="A", **options)
    assert sum(p.numel() for p in plain.parameters()) == sum(p.numel() for p in residual.parameters())


def test_strides_of_both_versions() -> None:
    for place, name in (("first", "conv1"), ("spatial", "conv2")):
        with torch.device("meta"):
            net = network("resnet50", stride_on=place)
        unit = net.stages[1][0].branch
        assert [layer.stride for layer in (unit.conv1, unit.conv2, unit.conv3)] == [
            (2, 2) if f"conv{number}" == name else (1, 1) for number in (1, 2, 3)
        ]


@pytest.mark.parametrize(
    "option", [{"order": "preactivated"}, {"join": "gate"}, {"normalisation": "layer"}, {"stride_on": "last"}]
)
def test_unknown_options_list_the_near_misses(option: dict[str, str]) -> None:
    with pytest.raises(UnknownNameError, match="try"):
        network("resnet8", **option)
