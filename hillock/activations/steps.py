"""Steps and straight lines: what came before gradients, and what has nothing to bend."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hillock.activations import sources
from hillock.activations.declaration import Activation
from hillock.activations.parts import Kink, Traits
from hillock.activations.stable import choose

INFINITY = math.inf


def _binary_step_value(x: Tensor) -> Tensor:
    return choose(x >= 0, x, 1.0, 0.0)


def _flat_slope(x: Tensor) -> Tensor:
    return choose(x >= 0, x, 0.0, 0.0)


BINARY_STEP = Activation(
    name="binary_step",
    formula="Piecewise((1, x >= 0), (0, True))",
    aliases=("step", "heaviside", "threshold_unit"),
    family="step",
    source=sources.MCCULLOCH_PITTS,
    remarks=(
        "The value at 0 is 1, as in the perceptron; torch.heaviside lets the caller pick it.",
        "The slope is 0 everywhere: it learns by the perceptron rule or a straight-through estimate, not by gradients.",
    ),
    kinks=(Kink(0.0, 0.0, jump=True),),
    traits=Traits(limits=(0.0, 1.0), slope_limits=(0.0, 0.0), bounds=(0.0, 1.0)),
    value=_binary_step_value,
    slope=_flat_slope,
    trusted=True,
)


def _signum_value(x: Tensor) -> Tensor:
    return torch.where(torch.isnan(x), x, torch.sign(x))


SIGNUM = Activation(
    name="signum",
    formula="Piecewise((-1, x < 0), (1, x > 0), (0, True))",
    aliases=("sign", "sgn"),
    family="step",
    source=sources.SHEEHAN,
    remarks=("0 at 0. Like the binary step it has no slope to learn from.",),
    kinks=(Kink(0.0, 0.0, jump=True),),
    traits=Traits(limits=(-1.0, 1.0), slope_limits=(0.0, 0.0), bounds=(-1.0, 1.0), symmetry="odd"),
    value=_signum_value,
    slope=_flat_slope,
    trusted=True,
)


def _identity_value(x: Tensor) -> Tensor:
    return x + 0  # a new tensor; also turns -0 into 0


def _identity_slope(x: Tensor) -> Tensor:
    return choose(x >= 0, x, 1.0, 1.0)


IDENTITY = Activation(
    name="identity",
    formula="x",
    aliases=("linear",),
    family="step",
    source=sources.WIDROW_HOFF,
    remarks=("The unit of ADALINE. A deep network of these is one linear map.",),
    traits=Traits(limits=(-INFINITY, INFINITY), slope_limits=(1.0, 1.0), bounds=(-INFINITY, INFINITY), symmetry="odd"),
    value=_identity_value,
    slope=_identity_slope,
    trusted=True,
)

ACTIVATIONS = (BINARY_STEP, SIGNUM, IDENTITY)
