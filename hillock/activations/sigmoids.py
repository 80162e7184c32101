"""Sigmoidal functions: bounded, rising, flat at both ends."""

from __future__ import annotations

import torch
from torch import Tensor

from hillock.activations import sources
from hillock.activations.declaration import Activation
from hillock.activations.parts import Traits
from hillock.activations.stable import logistic, logistic_slope, sech_squared

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

ACTIVATIONS = (SIGMOID, TANH)
