"""More functions that gate their input by itself, with a clip or an exponential: hard swish, Su's function, ELiSH."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hillock.activations import sources
from hillock.activations.declaration import Activation
from hillock.activations.parts import Kink, Traits
from hillock.activations.stable import at_most_zero, bounded, decay, finite, logistic

INFINITY = math.inf


def _hard_swish_value(x: Tensor) -> Tensor:
    inner = torch.clamp(x, -3.0, 3.0)
    return torch.where(x <= -3, torch.zeros_like(x), torch.where(x >= 3, x, inner * ((inner + 3) / 6)))


def _hard_swish_slope(x: Tensor) -> Tensor:
    inner = torch.clamp(x, -3.0, 3.0)
    return torch.where(x <= -3, torch.zeros_like(x), torch.where(x >= 3, torch.ones_like(x), (2 * inner + 3) / 6))


HARD_SWISH = Activation(
    name="hard_swish",
    formula="Piecewise((0, x <= -3), (x, x >= 3), (x*(x + 3)/6, True))",
    aliases=("hardswish", "h_swish"),
    family="gated",
    source=sources.MOBILENET_V3,
    remarks=(
        "= x · hard sigmoid (torch's). Minimum -0.375 at -1.5. ONNX agrees (alpha 1/6, beta 0.5).",
        "The slope is 0 at -3 and 1 at 3, as in torch. torch overflows beyond 5.67e37 in float32.",
    ),
    kinks=(Kink(-3.0, "left"), Kink(3.0, "right")),
    traits=Traits(limits=(0.0, INFINITY), slope_limits=(0.0, 1.0), bounds=(-0.375, INFINITY), turning=(-1.5,)),
    value=_hard_swish_value,
    slope=_hard_swish_slope,
    trusted=True,
)


def _su_value(x: Tensor) -> Tensor:
    below = at_most_zero(bounded(x))
    return torch.where(x > 0, x, below * torch.exp(below))


def _su_slope(x: Tensor) -> Tensor:
    below = at_most_zero(bounded(x))
    return torch.where(x > 0, torch.ones_like(x), (1 + below) * torch.exp(below))


SU = Activation(
    name="su",
    formula="Piecewise((x, x > 0), (x*exp(x), True))",
    aliases=("su_jianlin", "max_x_exp"),
    family="gated",
    source=sources.SU,
    remarks=(
        "max(x, x·e^-|x|), proposed by Su Jianlin in answer to Swish. The slope is continuous at 0 (1 from both "
        "sides).",
        "Minimum -1/e at -1.",
    ),
    traits=Traits(limits=(0.0, INFINITY), slope_limits=(0.0, 1.0), bounds=(-math.exp(-1), INFINITY), turning=(-1.0,)),
    value=_su_value,
    slope=_su_slope,
    trusted=True,
)


def _elish_value(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, torch.expm1(at_most_zero(x))) * logistic(x)


def _elish_slope(x: Tensor) -> Tensor:
    n = decay(x)
    r = 1 / (1 + n)
    above = r + finite(x) * (n * r * r)
    below = n * (n * n + 2 * n - 1) * (r * r)
    return torch.where(x > 0, above, below)


ELISH = Activation(
    name="elish",
    formula="Piecewise((x/(1 + exp(-x)), x > 0), ((exp(x) - 1)/(1 + exp(-x)), True))",
    aliases=("exponential_linear_squashing",),
    family="gated",
    source=sources.BASIRAT_ROTH,
    remarks=("SiLU above zero, ELU times sigmoid below. Minimum 2√2 - 3 at log(√2 - 1). The slope is continuous.",),
    traits=Traits(
        limits=(0.0, INFINITY),
        slope_limits=(0.0, 1.0),
        bounds=(2 * math.sqrt(2) - 3, INFINITY),
        turning=(math.log(math.sqrt(2) - 1),),
    ),
    value=_elish_value,
    slope=_elish_slope,
    trusted=True,
)

ACTIVATIONS = (HARD_SWISH, SU, ELISH)
