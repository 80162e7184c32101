"""A formula alone: value, slope and kinks made from it agree with the catalogue's hand-written ones."""

from __future__ import annotations

import math

import pytest
import torch

from hillock.activations import Activation, find, moments
from hillock.activations.facts import facts, measured_traits
from hillock.layers.activation_layer import activation

FORMULAS = {
    "sigmoid": "1/(1 + exp(-x))",
    "tanh": "2*sigmoid(2*x) - 1",
    "relu": "max(x, 0)",
    "leaky_relu": "max(x, x/100)",
    "elu": "Piecewise((x, x > 0), (exp(x) - 1, True))",
    "softplus": "log(1 + exp(x))",
    "silu": "x*sigmoid(x)",
    "gelu": "x*Phi(x)",
    "mish": "x*tanh(softplus(x))",
    "su": "max(x, x*exp(-abs(x)))",
    "hard_tanh": "max(-1, min(1, x))",
    "hard_swish": "x*min(max(x + 3, 0), 6)/6",
    "absolute": "abs(x)",
    "softsign": "x/(1 + abs(x))",
    "arctan": "atan(x)",
    "sinusoid": "sin(x)",
    "gaussian": "exp(-x^2)",
    "cube": "x^3",
    "bent_identity": "(sqrt(x^2 + 1) - 1)/2 + x",
    "minsin": "min(x, sin(x))",
    "maxsig": "max(x, sigmoid(x))",
}


@pytest.mark.parametrize("name", FORMULAS)
def test_generated_forms_agree_with_the_hand_written(name: str) -> None:
    own = Activation(name=f"own_{name}", formula=FORMULAS[name])
    theirs = find(name)
    x = torch.cat([torch.linspace(-30, 30, 1201, dtype=torch.float64) + 1e-3, torch.tensor([-1e4, 1e4]).double()])
    constants = theirs.constants()
    torch.testing.assert_close(own.value(x), theirs.value(x, **constants), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(own.slope(x), theirs.slope(x, **constants), rtol=1e-8, atol=1e-12)
    if name != "elu":  # with alpha = 1 its slope has no kink; the declared one is for every other alpha
        assert own.kink_places() == pytest.approx(theirs.kink_places())
    assert moments.gain(own) == pytest.approx(moments.gain(theirs), rel=1e-9)
    traits = measured_traits(own)
    assert theirs.traits is not None
    assert (traits.monotone, traits.symmetry) == (theirs.traits.monotone, theirs.traits.symmetry)
    assert math.isnan(own.value(torch.tensor(math.nan)).item())


def test_it_trains_with_a_learned_parameter() -> None:
    from hillock.activations import Parameter

    own = Activation(
        name="own_gate", formula="x*sigmoid(b*x)", parameters=(Parameter("b", 1.0, learned=True, low=-10, high=10),)
    )
    layer = activation(own, num_channels=3)
    x = torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(0))
    layer(x).square().sum().backward()
    reference = activation("swish", num_channels=3)
    reference(x).square().sum().backward()
    torch.testing.assert_close(layer.b.grad, reference.beta.grad)


def test_double_backward_through_cases_is_finite() -> None:
    own = Activation(name="own_elu", formula="Piecewise((x, x > 0), (exp(x) - 1, True))")
    x = torch.tensor([-2.0, 3.0, 900.0], dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(activation(own)(x).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    torch.testing.assert_close(second, torch.tensor([math.exp(-2), 0.0, 0.0], dtype=torch.float64))


def test_it_has_a_card() -> None:
    card = facts(Activation(name="own_bump", formula="x*exp(-x^2)"))
    assert card["properties"]["turning"] == pytest.approx([-math.sqrt(0.5), math.sqrt(0.5)])
    assert card["moments"]["gain"] > 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    ("formula", "value", "slope"),  # limits at -inf and +inf
    [
        ("x*exp(-x^2)", (0, 0), (0, 0)),
        ("x^3*exp(-x^2)", (0, 0), (0, 0)),
        ("x^2*sigmoid(-x^2)", (0, 0), (0, 0)),
        ("x*exp(-x^2/2)*(1 - x^2)", (0, 0), (0, 0)),
        ("x*sigmoid(x)", (0, math.inf), (0, 1)),
        ("max(x, x*exp(-abs(x)))", (0, math.inf), (0, 1)),
        ("exp(-x^2)/3", (0, 0), (0, 0)),
    ],
)
def test_limits_at_infinity(
    formula: str, value: tuple[float, float], slope: tuple[float, float], dtype: torch.dtype
) -> None:
    layer = activation(Activation(name="own_limit", formula=formula))
    x = torch.tensor([-math.inf, math.inf], dtype=dtype, requires_grad=True)
    y = layer(x)
    y.sum().backward()
    largest = torch.finfo(torch.float16).max if dtype == torch.float16 else 1e38  # computed at the largest number
    assert [v if abs(v) < largest else math.copysign(math.inf, v) for v in y.tolist()] == list(value)
    assert x.grad.tolist() == list(slope)
