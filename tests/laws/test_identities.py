"""Functions that are each other: the identities between entries of the catalogue, value and slope alike."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hillock.activations import find

X = torch.linspace(-8, 8, 641, dtype=torch.float64)


def value(name: str, x: Tensor = X, **parameters: float) -> Tensor:
    activation = find(name)
    return activation.value(x, **activation.constants(**parameters))


def slope(name: str, x: Tensor = X, **parameters: float) -> Tensor:
    activation = find(name)
    return activation.slope(x, **activation.constants(**parameters))


@pytest.mark.parametrize(
    ("one", "options", "other", "other_options"),
    [
        ("prelu", {"negative_slope": 0.0}, "relu", {}),
        ("prelu", {"negative_slope": -1.0}, "absolute", {}),
        ("prelu", {"negative_slope": 1.0}, "identity", {}),
        ("celu", {"alpha": 1.0}, "elu", {"alpha": 1.0}),
        ("elu", {"alpha": 0.0}, "relu", {}),
        ("rrelu", {}, "leaky_relu", {"negative_slope": 11 / 48}),
        ("rrelu_divisor", {}, "leaky_relu", {"negative_slope": 1 / 5.5}),
        ("swish", {"beta": 1.0}, "silu", {}),
        ("swish", {"beta": 1.702}, "gelu_sigmoid", {}),
        ("smu", {"alpha": 0.0, "mu": math.sqrt(0.5)}, "gelu", {}),
        ("acon_c", {}, "silu", {}),
        ("srelu", {}, "leaky_relu", {"negative_slope": 0.2}),
        ("apl", {}, "relu", {}),
        ("hard_tanh", {"low": 0.0, "high": 6.0}, "relu6", {}),
        ("threshold", {"threshold": 0.0}, "relu", {}),
        ("soft_shrink", {"threshold": 0.0}, "identity", {}),
    ],
)
def test_one_is_the_other(one: str, options: dict[str, float], other: str, other_options: dict[str, float]) -> None:
    places = X[X != 0]  # at the kink each keeps its own convention
    torch.testing.assert_close(value(one, **options), value(other, **other_options), rtol=1e-14, atol=1e-15)
    torch.testing.assert_close(
        slope(one, places, **options), slope(other, places, **other_options), rtol=1e-13, atol=1e-15
    )


IDENTITIES: dict[str, Callable[[], tuple[Tensor, Tensor]]] = {
    "sigmoid(x) = (1 + tanh(x/2))/2": lambda: (value("sigmoid"), (1 + value("tanh", X / 2)) / 2),
    "symmetrical sigmoid = 2 sigmoid - 1": lambda: (value("symmetrical_sigmoid"), 2 * value("sigmoid") - 1),
    "symmetrical sigmoid' = (1 - f²)/2": lambda: (
        slope("symmetrical_sigmoid"),
        (1 - value("symmetrical_sigmoid") ** 2) / 2,
    ),
    "softplus' = sigmoid": lambda: (slope("softplus"), value("sigmoid")),
    "softplus(x) - softplus(-x) = x": lambda: (value("softplus") - value("softplus", -X), X),
    "log sigmoid(x) = -softplus(-x)": lambda: (value("log_sigmoid"), -value("softplus", -X)),
    "swish(x) - swish(-x) = x": lambda: (value("silu") - value("silu", -X), X),
    "swish'(x) + swish'(-x) = 1": lambda: (slope("silu") + slope("silu", -X), torch.ones_like(X)),
    "gelu(x) - gelu(-x) = x": lambda: (value("gelu") - value("gelu", -X), X),
    "selu = scale · elu(alpha)": lambda: (
        value("selu"),
        1.0507009873554804934 * value("elu", alpha=1.6732632423543772848),
    ),
    "hard swish = x · hard sigmoid": lambda: (value("hard_swish"), X * value("hard_sigmoid")),
    "tanh shrink = x - tanh": lambda: (value("tanh_shrink"), X - value("tanh")),
    "lecun tanh(±1) = ±0.9999973": lambda: (
        value("lecun_tanh", torch.tensor([-1.0, 1.0], dtype=torch.float64)).round(decimals=7),
        torch.tensor([-0.9999973, 0.9999973], dtype=torch.float64),
    ),
    "su = max(x, x e^-|x|)": lambda: (value("su"), torch.maximum(X, X * torch.exp(-X.abs()))),
    "maxtanh = max(x, tanh x)": lambda: (value("maxtanh"), torch.maximum(X, torch.tanh(X))),
    "maxsig = max(x, sigmoid x)": lambda: (value("maxsig"), torch.maximum(X, torch.sigmoid(X))),
    "minsin = min(x, sin x)": lambda: (value("minsin"), torch.minimum(X, torch.sin(X))),
    "penalised tanh = max(tanh, tanh/4)": lambda: (
        value("penalised_tanh"),
        torch.maximum(torch.tanh(X), torch.tanh(X) / 4),
    ),
}


@pytest.mark.parametrize("name", IDENTITIES)
def test_identity(name: str) -> None:
    left, right = IDENTITIES[name]()
    torch.testing.assert_close(left, right, rtol=1e-13, atol=5e-15)


def test_published_numbers() -> None:
    """Figures that papers, documentation and the study's fact sheet give; each computed there by somebody else."""
    one = torch.tensor([0.0, 1.0, 2.0, 3.0], dtype=torch.float64)
    torch.testing.assert_close(  # Paddle's documentation of soft_relu, threshold 20
        value("soft_relu", one, threshold=20.0),
        torch.tensor([0.6931472, 1.3132616, 2.126928, 3.0485873], dtype=torch.float64),
        rtol=0,
        atol=1e-6,
    )
    places = torch.tensor([-3.0, -1.0, 0.0, 1.0, 3.0], dtype=torch.float64)
    assert value("hard_sigmoid_keras", places).tolist() == pytest.approx([0, 0.3, 0.5, 0.7, 1])
    assert value("complementary_log_log", one[:1]).item() == pytest.approx(0.63212, abs=1e-5)
    swish_slope = slope("silu", torch.tensor([2.3994, 1.278465], dtype=torch.float64))
    assert swish_slope.tolist() == pytest.approx([1.09984, 1.0], abs=1e-5)
    assert slope("sigmoid", torch.tensor([10.0], dtype=torch.float64)).item() == pytest.approx(4.5396e-5, rel=1e-4)
    assert slope("tanh", torch.tensor([10.0], dtype=torch.float64)).item() == pytest.approx(8.24e-9, rel=1e-3)


def test_the_study_notes_err() -> None:
    """What the notes say wrongly, computed: each is also said on the card."""
    dense = torch.linspace(-6, 6, 240_001, dtype=torch.float64)
    gelu = value("gelu", dense)
    # (1) Hard sigmoid without the 0.5 jumps by 0.5 at ±2.5 and is negative between -2.5 and 0.
    edges = torch.tensor([-2.5 - 1e-9, -2.5 + 1e-9, 2.5 - 1e-9, 2.5 + 1e-9])
    without_half = torch.where(edges < -2.5, 0.0, torch.where(edges > 2.5, 1.0, 0.2 * edges))
    assert (without_half[1] - without_half[0]).abs() == pytest.approx(0.5, abs=1e-6) or edges[0] == edges[1]
    exact_edges = [(-2.5, 0.0, 0.2 * -2.5), (2.5, 0.2 * 2.5, 1.0)]
    assert all(abs(outside - inside) == 0.5 for _, inside, outside in exact_edges)
    assert "0.5" in " ".join(find("hard_sigmoid").remarks)
    # (2) The cubic coefficient of the tanh form is a fit, not the Taylor coefficient, and fits better than it.
    taylor = (4 - math.pi) / (6 * math.pi)
    assert taylor == pytest.approx(0.045540, abs=1e-6)

    def with_coefficient(c: float) -> float:
        inner = math.sqrt(2 / math.pi) * (dense + c * dense**3)
        return (dense * torch.sigmoid(2 * inner) - gelu).abs().max().item()

    assert with_coefficient(0.044715) == pytest.approx(4.732e-4, rel=1e-3)
    assert with_coefficient(taylor) == pytest.approx(7.46e-4, rel=1e-2)
    assert "not" in next(remark for remark in find("gelu_tanh").remarks if "Taylor" in remark)
    # (3) The sigmoid form is further off still; 1.702 is not the best factor for GELU itself.
    assert (value("gelu_sigmoid", dense) - gelu).abs().max().item() == pytest.approx(2.033e-2, rel=1e-3)
    assert (value("swish", dense, beta=1.773) - gelu).abs().max().item() == pytest.approx(1.393e-2, rel=1e-3)
    # (4) Sigmoid and tanh never reach their limits, and their slope at ±10 is not 0.
    assert value("sigmoid", torch.tensor([-700.0], dtype=torch.float64)).item() > 0
    # (5) ELU's slope does vanish for very negative inputs.
    assert slope("elu", torch.tensor([-50.0], dtype=torch.float64)).item() < 1e-21
