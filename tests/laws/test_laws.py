"""Every law, once, over the whole catalogue."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch

from hillock.activations import Activation, moments


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("order", [0, 1], ids=["value", "slope"])
def test_the_code_computes_the_formula(
    laws: ModuleType, activation: Activation, order: int, dtype: torch.dtype
) -> None:
    laws.agreement_law(activation, order, dtype)


def test_infinities_and_nan(laws: ModuleType, activation: Activation) -> None:
    laws.special_values_law(activation)


def test_kinks(laws: ModuleType, activation: Activation) -> None:
    laws.kink_law(activation)


def test_traits(laws: ModuleType, activation: Activation) -> None:
    laws.traits_law(activation)


def test_gain_against_monte_carlo(laws: ModuleType, activation: Activation) -> None:
    laws.gain_law(activation, moments.gain(activation))


def test_moments_against_monte_carlo(laws: ModuleType, activation: Activation) -> None:
    laws.moments_law(activation)
