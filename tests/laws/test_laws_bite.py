"""Planted faults: each law catches the one that is meant for it. A law that lets its fault pass is no law."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from hillock.activations import Activation, Kink, find, moments


def faulty(name: str, **changes: Any) -> Activation:
    """Return a declaration with a fault, under a name of its own so that no kernel of the right one answers."""
    return dataclasses.replace(find(name), name=f"faulty_{name}", **changes)


def silu_slope_without_tail(x: Tensor) -> Tensor:
    return torch.sigmoid(x) * (1 + x * (1 - torch.sigmoid(x)))  # 1 - σ cancels


VALUE_FAULTS: dict[str, Callable[[], Activation]] = {
    "another constant": lambda: faulty("gelu_tanh", formula="x*(1 + tanh(sqrt(2/pi)*(x + 0.04554*x**3)))/2"),
    "a tail cut off": lambda: faulty("gelu", value=lambda x: x * 0.5 * (1 + torch.erf(x * math.sqrt(0.5)))),
    "denormals flushed": lambda: faulty("tanh", value=lambda x: torch.where(x.abs() < 1.2e-38, 0 * x, torch.tanh(x))),
    "one part in ten million": lambda: faulty(
        "softplus", value=lambda x, **c: find("softplus").value(x, **c) * (1 + 1e-7)
    ),
}
SLOPE_FAULTS: dict[str, Callable[[], Activation]] = {
    "wrong factor": lambda: faulty("tanh", slope=lambda x: 0.999 * (1 - torch.tanh(x) ** 2)),
    "cancellation": lambda: faulty("sigmoid", slope=lambda x: torch.sigmoid(x) * (1 - torch.sigmoid(x))),
    "cancellation near the root": lambda: faulty(
        "silu", slope=lambda x: silu_slope_without_tail(x.float()).to(x.dtype)
    ),
    "slope of another function": lambda: faulty("mish", slope=find("silu").slope),
}


@pytest.mark.parametrize("fault", VALUE_FAULTS)
def test_agreement_of_the_value_bites(laws: ModuleType, fault: str) -> None:
    with pytest.raises(AssertionError):
        laws.agreement_law(VALUE_FAULTS[fault](), 0, torch.float32)


@pytest.mark.parametrize("fault", SLOPE_FAULTS)
def test_agreement_of_the_slope_bites(laws: ModuleType, fault: str) -> None:
    with pytest.raises(AssertionError):
        laws.agreement_law(SLOPE_FAULTS[fault](), 1, torch.float32)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"value": lambda x: torch.where(x > 0, x, torch.zeros_like(x))}, id="value loses NaN"),
        pytest.param({"slope": lambda x: (x > 0).to(x.dtype)}, id="slope loses NaN"),
        pytest.param({"slope": lambda x: torch.where(torch.isinf(x), 0 * x, find("relu").slope(x))}, id="slope at inf"),
        pytest.param(
            {"traits": dataclasses.replace(find("relu").traits, limits=(0.0, 6.0))}, id="declared limit is wrong"
        ),
        pytest.param(
            {"traits": dataclasses.replace(find("relu").traits, slope_limits=(0.1, 1.0))}, id="declared slope limit"
        ),
    ],
)
def test_special_values_bite(laws: ModuleType, fault: dict[str, Any]) -> None:
    laws.special_values_law(faulty("relu"))
    with pytest.raises(AssertionError):
        laws.special_values_law(faulty("relu", **fault))


@pytest.mark.parametrize(
    "kinks",
    [
        pytest.param((Kink(0.0, "right"),), id="swapped side"),
        pytest.param((Kink(0.0, 0.5),), id="wrong number"),
        pytest.param((Kink(0.0, "left", jump=True),), id="no jump there"),
    ],
)
def test_kinks_bite(laws: ModuleType, kinks: tuple[Kink, ...]) -> None:
    laws.kink_law(faulty("relu"))
    with pytest.raises(AssertionError):
        laws.kink_law(faulty("relu", kinks=kinks))


@pytest.mark.parametrize(
    "wrong",
    [
        {"bounds": (-0.2, math.inf)},
        {"bounds": (-0.3, math.inf)},
        {"turning": ()},
        {"turning": (-1.3,)},
        {"turning": (-1.2784645427610738, 2.0)},
        {"symmetry": "odd"},
        {"symmetry": "even"},
    ],
    ids=str,
)
def test_traits_bite(laws: ModuleType, wrong: dict[str, Any]) -> None:
    laws.traits_law(faulty("silu"))
    with pytest.raises(AssertionError):
        laws.traits_law(faulty("silu", traits=dataclasses.replace(find("silu").traits, **wrong)))


def test_symmetry_that_is_not_declared_is_found(laws: ModuleType) -> None:
    with pytest.raises(AssertionError):
        laws.traits_law(faulty("tanh", traits=dataclasses.replace(find("tanh").traits, symmetry=None)))


def test_gain_bites(laws: ModuleType) -> None:
    laws.gain_law(find("tanh"), moments.gain("tanh"))
    with pytest.raises(AssertionError):
        laws.gain_law(find("tanh"), 5 / 3)  # what torch.nn.init.calculate_gain says
    with pytest.raises(AssertionError):
        laws.gain_law(find("relu"), moments.gain("relu") * 1.02)
