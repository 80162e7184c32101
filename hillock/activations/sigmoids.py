"""Sigmoidal functions: bounded, rising, flat at both ends."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hillock.activations import sources
from hillock.activations.declaration import Activation
from hillock.activations.parts import Kink, Parameter, Traits
from hillock.activations.stable import (
    at_most_zero,
    bounded,
    decay,
    finite,
    logistic,
    logistic_slope,
    minus_magnitude,
    sech_squared,
    softplus,
)

SIGMOID = Activation(
    name="sigmoid",
    formula="1/(1 + exp(-x))",
    aliases=("logistic", "soft_step"),
    family="sigmoid",
    source=sources.RUMELHART,
    remarks=(
        "The range is open: 0 and 1 are never reached, and the slope at ±10 is 4.54e-5, not 0.",
        "Not centred at zero: every output is positive.",
        "torch computes the slope as s(1 - s) from the rounded output: 0 from x = 16.7 on in float32.",
    ),
    traits=Traits(limits=(0.0, 1.0), slope_limits=(0.0, 0.0), bounds=(0.0, 1.0)),
    value=logistic,
    slope=logistic_slope,
    trusted=True,
)


def _tanh_value(x: Tensor) -> Tensor:
    return torch.tanh(x)


TANH = Activation(
    name="tanh",
    formula="tanh(x)",
    aliases=("hyperbolic_tangent",),
    family="sigmoid",
    source=sources.LECUN_KANTER_SOLLA,
    remarks=(
        "= 2σ(2x) - 1. The source recommends it for networks; the function itself is far older.",
        "The slope at ±10 is 8.24e-9, not 0. torch computes it as 1 - y² from the rounded output: 0 from |x| = 9.01 on "
        "in float32.",
    ),
    traits=Traits(limits=(-1.0, 1.0), slope_limits=(0.0, 0.0), bounds=(-1.0, 1.0), symmetry="odd"),
    value=_tanh_value,
    slope=sech_squared,
    trusted=True,
)

LECUN_HEIGHT, LECUN_RATE = 1.7159, 2 / 3  # chosen so that φ(±1) = ±1 (0.9999973) and φ'' is largest there


def _lecun_tanh_value(x: Tensor) -> Tensor:
    return LECUN_HEIGHT * torch.tanh(LECUN_RATE * x)


def _lecun_tanh_slope(x: Tensor) -> Tensor:
    return (LECUN_HEIGHT * LECUN_RATE) * sech_squared(LECUN_RATE * x)


LECUN_TANH = Activation(
    name="lecun_tanh",
    formula="1.7159*tanh(2*x/3)",
    aliases=("scaled_tanh",),
    family="sigmoid",
    source=sources.EFFICIENT_BACKPROP,
    remarks=("The source also suggests adding a small linear term, which is not done here.",),
    traits=Traits(limits=(-1.7159, 1.7159), slope_limits=(0.0, 0.0), bounds=(-1.7159, 1.7159), symmetry="odd"),
    value=_lecun_tanh_value,
    slope=_lecun_tanh_slope,
    trusted=True,
)


def _symmetrical_sigmoid_value(x: Tensor) -> Tensor:
    return torch.tanh(0.5 * x)


def _symmetrical_sigmoid_slope(x: Tensor) -> Tensor:
    n = decay(x)
    r = 1 / (1 + n)
    return 2 * n * (r * r)


SYMMETRICAL_SIGMOID = Activation(
    name="symmetrical_sigmoid",
    formula="tanh(x/2)",
    aliases=("symmetric_sigmoid", "bipolar_sigmoid"),
    family="sigmoid",
    source=sources.SHEEHAN,
    remarks=("= (1 - e^-x)/(1 + e^-x) = 2σ(x) - 1.",),
    traits=Traits(limits=(-1.0, 1.0), slope_limits=(0.0, 0.0), bounds=(-1.0, 1.0), symmetry="odd"),
    value=_symmetrical_sigmoid_value,
    slope=_symmetrical_sigmoid_slope,
    trusted=True,
)


def _arctan_value(x: Tensor) -> Tensor:
    return torch.atan(x)


def arctan_slope(x: Tensor) -> Tensor:
    """Return 1/(1 + x²), for large x as (1/x)²/(1 + (1/x)²) so that x² does not overflow."""
    far = minus_magnitude(x) < -1
    inner = torch.where(far, torch.zeros_like(x), x)
    outer = 1 / torch.where(far, x, torch.ones_like(x))
    return torch.where(far, outer * outer / (1 + outer * outer), 1 / (1 + inner * inner))


ARCTAN = Activation(
    name="arctan",
    formula="atan(x)",
    aliases=("atan", "arc_tan", "arcus_tangens"),
    family="sigmoid",
    source=sources.SHEEHAN,
    remarks=("tan^-1 in the Swish paper is this function, not 1/tan.",),
    traits=Traits(
        limits=(-math.pi / 2, math.pi / 2), slope_limits=(0.0, 0.0), bounds=(-math.pi / 2, math.pi / 2), symmetry="odd"
    ),
    value=_arctan_value,
    slope=arctan_slope,
    trusted=True,
)


def _softsign_value(x: Tensor) -> Tensor:
    near = finite(x)
    return near / (1 - minus_magnitude(near))


def _softsign_slope(x: Tensor) -> Tensor:
    r = 1 / (1 - minus_magnitude(x))
    return r * r


SOFTSIGN = Activation(
    name="softsign",
    formula="x/(1 + Abs(x))",
    aliases=("elliott",),
    family="sigmoid",
    source=sources.BERGSTRA,
    remarks=(
        "Elliott 1993 before that. Approaches ±1 slowly, like 1/|x|.",
        "torch: NaN at ±inf, where the limits are ±1; and a slope of the wrong size beyond 1e7 in float32.",
    ),
    traits=Traits(limits=(-1.0, 1.0), slope_limits=(0.0, 0.0), bounds=(-1.0, 1.0), symmetry="odd"),
    value=_softsign_value,
    slope=_softsign_slope,
    trusted=True,
)


def _log_sigmoid_value(x: Tensor) -> Tensor:
    return -softplus(-x)


def _log_sigmoid_slope(x: Tensor) -> Tensor:
    return logistic(-x)


LOG_SIGMOID = Activation(
    name="log_sigmoid",
    formula="-log(1 + exp(-x))",
    aliases=("logsigmoid",),
    family="sigmoid",
    source=sources.TORCH7,
    remarks=("= -softplus(-x). Used inside losses more than between layers.",),
    traits=Traits(limits=(-math.inf, 0.0), slope_limits=(1.0, 0.0), bounds=(-math.inf, 0.0)),
    value=_log_sigmoid_value,
    slope=_log_sigmoid_slope,
    trusted=True,
)


def _complementary_log_log_value(x: Tensor) -> Tensor:
    return -torch.expm1(-torch.exp(bounded(x)))


def _complementary_log_log_slope(x: Tensor) -> Tensor:
    near = bounded(x, 100.0) if x.dtype == torch.float16 else bounded(x, 700.0)
    return torch.where(x < -700, torch.exp(at_most_zero(x)), torch.exp(near - torch.exp(near)))


COMPLEMENTARY_LOG_LOG = Activation(
    name="complementary_log_log",
    formula="1 - exp(-exp(x))",
    aliases=("log_log", "cloglog"),
    family="sigmoid",
    source=sources.GOMES_LUDERMIR,
    remarks=("Often called LogLog. 1 - 1/e at 0; approaches 1 far faster than 0.",),
    traits=Traits(limits=(0.0, 1.0), slope_limits=(0.0, 0.0), bounds=(0.0, 1.0)),
    value=_complementary_log_log_value,
    slope=_complementary_log_log_slope,
    trusted=True,
)


def _penalised_tanh_value(x: Tensor, negative_slope: float | Tensor) -> Tensor:
    y = torch.tanh(x)
    return torch.where(x > 0, y, negative_slope * y)


def _penalised_tanh_slope(x: Tensor, negative_slope: float | Tensor) -> Tensor:
    y = sech_squared(x)
    return torch.where(x > 0, y, negative_slope * y)


PENALISED_TANH = Activation(
    name="penalised_tanh",
    formula="Piecewise((tanh(x), x > 0), (negative_slope*tanh(x), True))",
    aliases=("penalized_tanh", "leaky_tanh"),
    family="sigmoid",
    source=sources.XU_PENALISED,
    remarks=(
        "The most stable of 21 functions over eight language tasks in Eger et al. 2018.",
        "Code that divides by the factor, or that computes tanh - a·tanh², is another function.",
    ),
    parameters=(Parameter("negative_slope", 0.25, low=0.0, meaning="factor below zero"),),
    kinks=(Kink(0.0, "left"),),
    traits=Traits(limits=(-0.25, 1.0), slope_limits=(0.0, 0.0), bounds=(-0.25, 1.0)),
    value=_penalised_tanh_value,
    slope=_penalised_tanh_slope,
    trusted=True,
)

ACTIVATIONS = (
    SIGMOID,
    TANH,
    LECUN_TANH,
    SYMMETRICAL_SIGMOID,
    ARCTAN,
    SOFTSIGN,
    LOG_SIGMOID,
    COMPLEMENTARY_LOG_LOG,
    PENALISED_TANH,
)
