"""Steps and straight lines: what came before gradients, and what has nothing to bend."""

from __future__ import annotations

import math

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

ACTIVATIONS = (BINARY_STEP,)
