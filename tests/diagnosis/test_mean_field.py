"""The mean-field curves: against the declared activations' own moments, and against wide random networks."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from hillock.activations import moments
from hillock.diagnosis import diagnose
from hillock.diagnosis.mean_field import (
    expectation,
    expected_flat_share,
    expected_saturated_share,
    pair_expectation,
)
from hillock.diagnosis.site import characterise
from hillock.layers.activation_layer import activation


@pytest.mark.parametrize("name", ["relu", "tanh", "sigmoid", "gelu", "elu", "silu", "softplus"])
def test_expectations_are_those_of_the_declaration(name: str) -> None:
    character = characterise(activation(name), torch.zeros(1, 1), 1)
    assert expectation(character, "values", 1.0) == pytest.approx(moments.mean(name), abs=0.01)
    assert expectation(character, "values_squared", 1.0) == pytest.approx(moments.second_moment(name), rel=0.01)
    assert expectation(character, "slopes_squared", 1.0) == pytest.approx(moments.slope_second_moment(name), rel=0.01)
    cosine = pair_expectation(character, 1.0, 0.5) / expectation(character, "values_squared", 1.0)
    assert cosine == pytest.approx(moments.cosine_map(name, 0.5), abs=0.01)


@pytest.mark.parametrize(("act", "gain"), [(nn.ReLU, math.sqrt(2)), (nn.Tanh, 1.6), (nn.Sigmoid, 1.0)])
def test_a_wide_random_network_follows_its_curves(digits: Any, perceptron: Any, act: Any, gain: float) -> None:
    found = diagnose(perceptron(act, depth=8, width=256, gain=gain), digits[:2], stage="initial")
    # The curves hold for infinite width. At width n a cosine wanders by 1/√n a layer, whatever its size.
    bounds = {"input_rms": {"rel": 0.15}, "backward_gain": {"rel": 0.15}, "cosine": {"abs": 1 / math.sqrt(256)}}
    for name, bound in bounds.items():
        profile = found.profile(name)
        assert profile.predicted is not None
        pairs = list(zip(profile.measured, profile.predicted, strict=True))[2:]
        assert all(measured == pytest.approx(predicted, **bound) for measured, predicted in pairs), (name, pairs)


def test_no_curve_is_drawn_through_what_theory_does_not_know(digits: Any) -> None:
    network = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 32), nn.BatchNorm1d(32), nn.Tanh()
    )
    found = diagnose(nn.Sequential(*network, nn.Linear(32, 10)), digits[:1])
    assert all(math.isnan(value) for value in found.profile("input_rms").predicted or ())


@pytest.mark.parametrize(("name", "limit"), [("tanh", 2.1788), ("sigmoid", 4.3573), ("hard_tanh", 1.0), ("relu6", 6.0)])
def test_the_healthy_share_of_flat_values_is_that_of_the_normal_tails(name: str, limit: float) -> None:
    character = characterise(activation(name), torch.zeros(1, 1), 1)
    tail = math.erfc(limit / math.sqrt(2)) / (2 if name == "relu6" else 1)
    # Hard tanh is flat at 1 itself; the grid and the quantiles are exact to about half a percent.
    assert expected_flat_share(character) == pytest.approx(tail, abs=0.01)


def test_what_samples_have_in_common_saturates_units() -> None:
    character = characterise(activation("hard_tanh"), torch.zeros(1, 1), 1)
    shares = [expected_saturated_share(character, common, 0.932) for common in (0.0, 0.5, 0.8, 1.0)]
    # By hand: |shift| above 1 + 1.49 √(1 - common), in units of √common: 2.91 for 0.5, 1.86 for 0.8, 1 for 1.
    assert shares == pytest.approx([0.0, 0.004, 0.063, 0.317], abs=0.01)
