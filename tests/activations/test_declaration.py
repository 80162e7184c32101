"""Declarations refuse to contradict themselves; they travel, and their parts say what they hold."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import sympy
import torch

from hillock.activations import Activation, Kink, Parameter, Source, Traits, find
from hillock.errors import DeclarationError, UnknownNameError, UsageError


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Activation(name="2x", formula="2*x"), "name"),
        (lambda: Activation(name="mine", formula="y*x"), "'y'"),
        (lambda: Activation(name="mine", formula="x +"), "formula"),
        (lambda: Activation(name="mine", formula="__import__('os')"), "formula"),
        (lambda: Activation(name="mine", formula="x.real"), "real"),
        (lambda: Activation(name="mine", formula="x > 0"), "formula"),
        (
            lambda: Activation(name="mine", formula="a*x", parameters=(Parameter("a", 1), Parameter("a", 2))),
            "different",
        ),
        (lambda: Parameter("x", 1.0), "other than x"),
        (lambda: Parameter("a", 2.0, low=0.0, high=1.0), "default"),
        (lambda: Parameter("a", 0.5, drawn=True), "range"),
        (lambda: Kink(0.0, "middle"), "left"),
        (lambda: Kink("a b", "left"), "parameter"),
        (lambda: Source((), 2000, "Title"), "authors"),
        (lambda: Traits((0, 1), (0, 0), (1, 0)), "ascending"),
        (lambda: Traits((0, 1), (0, 0), (0, 1), symmetry="both"), "odd"),
    ],
)
def test_what_contradicts_itself_is_refused(make: object, message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        make()  # type: ignore[operator]


@pytest.mark.parametrize(
    ("formula", "point"),
    [
        ("1/x", "x = 0"),
        ("1/(x - 2)", "x = 2"),
        ("1/(x - 1/3)**2", "x = 0.333333333"),
        ("tan(x)", "x = "),
        ("log(x)", "x = -"),
        ("sqrt(x)", "x = -"),
        ("sin(x)/x", "x = 0"),
        ("sqrt(abs(x))", "x = 0"),
        ("asin(x)", "x = -"),
    ],
)
def test_a_formula_that_is_not_finite_is_refused_with_the_point(formula: str, point: str) -> None:
    with pytest.raises(DeclarationError, match="finite") as caught:
        Activation(name="mine", formula=formula)
    assert point in str(caught.value)


def test_a_value_or_slope_that_contradicts_the_formula_is_refused_with_the_point() -> None:
    with pytest.raises(DeclarationError, match=r"slope of mine .* at x = "):
        Activation(name="mine", formula="x**2", slope=lambda x: 3 * x)
    with pytest.raises(DeclarationError, match=r"value of mine .* at x = "):
        Activation(name="mine", formula="x**2", value=lambda x: x * x + 0.001)
    with pytest.raises(DeclarationError, match=r"overflow"):
        Activation(name="mine", formula="log(cosh(x))")
    by_hand = Activation(
        name="mine",
        formula="log(cosh(x))",
        value=lambda x: x.abs() + torch.log1p(torch.exp(-2 * x.abs())) - math.log(2),
        slope=torch.tanh,
    )
    assert by_hand.value(torch.tensor(1000.0)).item() == pytest.approx(1000 - math.log(2))


def test_constants_are_checked() -> None:
    leaky = find("leaky_relu")
    assert leaky.constants() == {"negative_slope": 0.01}
    assert leaky.constants(negative_slope=1) == {"negative_slope": 1.0}
    with pytest.raises(UnknownNameError, match="negative_slope"):
        leaky.constants(slope=0.1)
    with pytest.raises(UsageError, match="alpha to be a number from 0"):
        find("elu").constants(alpha=-1)
    with pytest.raises(UsageError, match="number"):
        find("elu").constants(alpha="much")


def test_a_declaration_travels() -> None:
    gelu = find("gelu")
    assert pickle.loads(pickle.dumps(gelu)) is gelu
    assert copy.deepcopy(gelu) is gelu
    own = Activation(name="own_wave", formula="x*cos(b*x)", parameters=(Parameter("b", 2.0),))
    back = pickle.loads(pickle.dumps(own))
    x = torch.linspace(-3, 3, 7)
    torch.testing.assert_close(back.value(x, b=2.0), own.value(x, b=2.0))
    assert back.parameters == own.parameters


def test_a_sympy_expression_is_a_formula() -> None:
    x = sympy.Symbol("x")
    made = Activation(name="mine", formula=x * sympy.tanh(x))  # type: ignore[arg-type]
    assert made.value(torch.tensor(2.0)).item() == pytest.approx(2 * math.tanh(2))


def test_sources_are_cited() -> None:
    entry = find("elu").source
    assert entry is not None
    assert entry.bibtex().startswith("@misc{clevert2015fast,")
    assert "eprint = {1511.07289}" in entry.bibtex()
    assert "Arn{\\'e}" in entry.bibtex()
    assert entry.text.startswith("Clevert, Unterthiner & Hochreiter (2015).")
