"""Agreement with torch for everything that torch has; where torch is wrong, the figure by which it is."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hillock import kernels
from hillock.activations import find

TORCH: dict[str, tuple[Callable[[Tensor], Tensor], dict[str, float]]] = {
    "sigmoid": (torch.sigmoid, {}),
    "tanh": (torch.tanh, {}),
    "relu": (F.relu, {}),
    "relu6": (F.relu6, {}),
    "leaky_relu": (F.leaky_relu, {}),
    "prelu": (lambda x: F.prelu(x, torch.tensor(0.25, dtype=x.dtype)), {}),
    "rrelu": (F.rrelu, {}),
    "elu": (F.elu, {}),
    "selu": (F.selu, {}),
    "celu": (lambda x: F.celu(x, 1.5), {"alpha": 1.5}),
    "gelu": (F.gelu, {}),
    "gelu_tanh": (lambda x: F.gelu(x, approximate="tanh"), {}),
    "silu": (F.silu, {}),
    "mish": (F.mish, {}),
    "softplus": (lambda x: F.softplus(x, 2.0, 20.0), {"beta": 2.0, "threshold": 20.0}),
    "softsign": (F.softsign, {}),
    "log_sigmoid": (F.logsigmoid, {}),
    "tanh_shrink": (F.tanhshrink, {}),
    "hard_tanh": (lambda x: F.hardtanh(x, -2.0, 0.5), {"low": -2.0, "high": 0.5}),
    "hard_sigmoid": (F.hardsigmoid, {}),
    "hard_swish": (F.hardswish, {}),
    "hard_shrink": (F.hardshrink, {}),
    "soft_shrink": (F.softshrink, {}),
    "threshold": (lambda x: F.threshold(x, 0.1, 20.0), {"threshold": 0.1, "replacement": 20.0}),
    "binary_step": (lambda x: torch.heaviside(x, torch.ones((), dtype=x.dtype)), {}),
    "signum": (torch.sign, {}),
    "absolute": (torch.abs, {}),
    "arctan": (torch.atan, {}),
    "sinusoid": (torch.sin, {}),
    "cosine": (torch.cos, {}),
}


@pytest.mark.parametrize("name", TORCH)
def test_value_and_gradient_agree_with_torch(name: str) -> None:
    theirs, options = TORCH[name]
    activation = find(name)
    # Kinks are among the points: the subgradients are torch's (RReLU has its own: see the card).
    edges = [kink for kink in activation.kink_places(activation.constants(**options)) if name != "rrelu"]
    numbers = torch.cat(
        [torch.linspace(-12, 12, 961, dtype=torch.float64) + 0.007, torch.tensor(edges, dtype=torch.float64)]
    )
    ours_in, theirs_in = (numbers.clone().requires_grad_(True) for _ in range(2))
    ours = kernels.apply(activation, ours_in, activation.constants(**options))
    expected = theirs(theirs_in)
    torch.testing.assert_close(ours, expected, rtol=1e-7, atol=1e-14)
    if not expected.requires_grad or name == "binary_step":
        return
    ours.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(ours_in.grad, theirs_in.grad, rtol=1e-6, atol=1e-13)


def _gradient(function: Callable[[Tensor], Tensor], x: float) -> float:
    leaf = torch.tensor([x], requires_grad=True)
    function(leaf).sum().backward()
    assert leaf.grad is not None
    return leaf.grad.item()


WRONG = [
    # function, order, place, what torch 2.13 gives in float32, what is right
    ("gelu", 0, -8.0, -0.0, -8.0 * 6.220960574271785e-16),
    ("silu", 0, -math.inf, math.nan, 0.0),
    ("silu", 0, -95.0, -0.0, -95 * math.exp(-95)),
    ("mish", 0, -math.inf, math.nan, 0.0),
    ("tanh_shrink", 0, 1e-5, 0.0, 1e-15 / 3),
    ("hard_swish", 0, 1e38, math.inf, 1e38),
    ("softsign", 0, math.inf, math.nan, 1.0),
    ("tanh", 1, 10.0, 0.0, 8.244614455767398e-09),
    ("sigmoid", 1, 20.0, 0.0, 2.0611536139418488e-09),
    ("gelu_tanh", 1, 2e19, math.nan, 1.0),
    ("relu", 1, math.nan, 0.0, math.nan),
    ("elu", 1, math.nan, 1.0, math.nan),
    ("leaky_relu", 1, math.nan, 0.01, math.nan),
]


@pytest.mark.parametrize(
    ("name", "order", "place", "torch_gives", "right"), WRONG, ids=[f"{w[0]}-{w[2]}" for w in WRONG]
)
def test_where_torch_is_wrong(name: str, order: int, place: float, torch_gives: float, right: float) -> None:
    activation = find(name)
    theirs, _ = TORCH[name]
    compute = _gradient if order else lambda function, x: function(torch.tensor([x])).item()
    ours = compute(lambda x: kernels.apply(activation, x, activation.constants()), place)
    assert ours == pytest.approx(right, rel=1e-6, abs=0, nan_ok=True)
    found = compute(theirs, place)
    if name not in {"relu", "leaky_relu", "elu"}:  # what torch makes of a NaN's gradient depends on the build
        assert found == pytest.approx(torch_gives, nan_ok=True), (
            "torch has been mended: take this line and its remark away"
        )
