"""Gaussian moments against closed forms, and saturation limits against inverses."""

from __future__ import annotations

import math

import pytest

from hillock.activations import Activation, moments

ROOT_TWO_PI = math.sqrt(2 * math.pi)
PHI_AT_ONE = 0.5 * math.erfc(-1 / math.sqrt(2))


def exponential_moment(rate: float) -> float:
    """E[e^(rate z); z < 0] = e^(rate²/2) Φ(-rate)."""
    return math.exp(rate**2 / 2) * 0.5 * math.erfc(rate / math.sqrt(2))


SECOND_MOMENTS = {
    "relu": 0.5,
    "leaky_relu": (1 + 0.01**2) / 2,
    "prelu": (1 + 0.25**2) / 2,
    "absolute": 1.0,
    "identity": 1.0,
    "signum": 1.0,
    "binary_step": 0.5,
    "cube": 15.0,
    "squared_relu": 1.5,
    "selu": 1.0,
    "sinusoid": (1 - math.exp(-2)) / 2,
    "cosine": (1 + math.exp(-2)) / 2,
    "gaussian": 1 / math.sqrt(5),
    "elu": 0.5 + exponential_moment(2) - 2 * exponential_moment(1) + 0.5,
    "gelu": 1 / 3 + 1 / (2 * math.sqrt(3) * math.pi),
}
MEANS = {
    "relu": 1 / ROOT_TWO_PI,
    "leaky_relu": 0.99 / ROOT_TWO_PI,
    "absolute": 2 / ROOT_TWO_PI,
    "sigmoid": 0.5,
    "tanh": 0.0,
    "gelu": 1 / (2 * math.sqrt(math.pi)),
    "gaussian": 1 / math.sqrt(3),
    "cosine": math.exp(-0.5),
    "selu": 0.0,
    "binary_step": 0.5,
    "elu": 1 / ROOT_TWO_PI + exponential_moment(1) - 0.5,
}
SLOPE_SECOND_MOMENTS = {
    "relu": 0.5,
    "leaky_relu": (1 + 0.01**2) / 2,
    "absolute": 1.0,
    "hard_tanh": math.erf(1 / math.sqrt(2)),
    "sinusoid": (1 + math.exp(-2)) / 2,
    "cube": 27.0,
    "squared_relu": 2.0,
    "binary_step": 0.0,
    "elu": 0.5 + exponential_moment(2),
}


@pytest.mark.parametrize("name", SECOND_MOMENTS)
def test_gain_has_its_closed_form(name: str) -> None:
    assert moments.gain(name) == pytest.approx(1 / math.sqrt(SECOND_MOMENTS[name]), rel=1e-12)


@pytest.mark.parametrize("name", MEANS)
def test_mean_has_its_closed_form(name: str) -> None:
    assert moments.mean(name) == pytest.approx(MEANS[name], rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("name", SLOPE_SECOND_MOMENTS)
def test_slope_moment_has_its_closed_form(name: str) -> None:
    assert moments.slope_second_moment(name) == pytest.approx(SLOPE_SECOND_MOMENTS[name], rel=1e-12)


@pytest.mark.parametrize("cosine", [-1.0, -0.7, 0.0, 0.3, 0.9, 0.999, 0.999999, 1.0])
def test_correlation_maps_of_relu_step_and_sine(cosine: float) -> None:
    angle = math.acos(cosine)
    relu = (math.sin(angle) + (math.pi - angle) * cosine) / math.pi  # the arc-cosine kernel of Cho and Saul 2009
    assert moments.cosine_map("relu", cosine) == pytest.approx(relu, abs=1e-12)
    assert moments.cosine_map("binary_step", cosine) == pytest.approx(1 - angle / math.pi, abs=1e-12)
    assert moments.cosine_map("signum", cosine) == pytest.approx(1 - 2 * angle / math.pi, abs=1e-12)
    assert moments.cosine_map("sinusoid", cosine) == pytest.approx(math.sinh(cosine) / math.sinh(1), abs=1e-12)
    assert moments.cosine_map("identity", cosine) == pytest.approx(cosine, abs=1e-12)


def test_saturation_limits() -> None:
    share = 0.05
    tanh_limit = math.acosh(1 / math.sqrt(share))  # sech² = share
    assert moments.saturation_limits("tanh") == pytest.approx((-tanh_limit, tanh_limit), rel=1e-12)
    logistic = (1 - share / 2 + math.sqrt(1 - share)) / (share / 2)  # e^x with σ' = share/4
    assert moments.saturation_limits("sigmoid")[1] == pytest.approx(math.log(logistic), rel=1e-9)
    assert moments.saturation_limits("elu") == (pytest.approx(math.log(share)), math.inf)
    assert moments.saturation_limits("relu6") == (0.0, 6.0)
    assert moments.saturation_limits("leaky_relu", share=0.005) == (-math.inf, math.inf)
    assert moments.saturation_limits("sinusoid") == (-math.inf, math.inf)
    assert moments.saturation_limits("binary_step") == (math.inf, -math.inf)


def test_largest_slopes() -> None:
    assert moments.max_slope("sigmoid") == 0.25
    assert moments.max_slope("selu") == pytest.approx(1.7580993408473766)
    assert moments.max_slope("silu") == pytest.approx(1.09984, abs=1e-5)


def test_parameters_and_own_functions() -> None:
    assert moments.gain("leaky_relu", negative_slope=1.0) == pytest.approx(1.0)
    assert moments.gain("gelu", approximate="tanh") != moments.gain("gelu")
    bent = Activation(name="bent_twice", formula="Max(x, 0) - Min(x + 1/3, 0)")
    second = 0.5 + moments.second_moment(Activation(name="left_part", formula="Min(x + 1/3, 0)"))
    assert moments.second_moment(bent) == pytest.approx(second, rel=1e-12)
