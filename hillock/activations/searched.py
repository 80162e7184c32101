"""Functions that a search found or a comparison tried: cosid, minsin, arctid, maxtanh, maxsig, cube."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hillock.activations import sources
from hillock.activations.declaration import Activation
from hillock.activations.parts import Kink, Traits
from hillock.activations.sigmoids import arctan_slope
from hillock.activations.stable import logistic, logistic_slope, sech_squared

INFINITY = math.inf


def _cosid_value(x: Tensor) -> Tensor:
    return torch.where(torch.isinf(x), -x, torch.cos(x) - x)


def _cosid_slope(x: Tensor) -> Tensor:
    # -(1 + sin x) = -(sin(x/2) + cos(x/2))², which keeps its digits where the slope touches 0
    wave = torch.sin(0.5 * x) + torch.cos(0.5 * x)
    return -wave * wave


COSID = Activation(
    name="cosid",
    formula="cos(x) - x",
    aliases=("cosper",),
    family="searched",
    source=sources.RAMACHANDRAN,
    remarks=(
        "Never rises: its slope -1 - sin(x) touches 0 but does not change sign. cosper in the code of Eger et al.",
    ),
    traits=Traits(
        limits=(INFINITY, -INFINITY), slope_limits=(math.nan, math.nan), bounds=(-INFINITY, INFINITY), turning=()
    ),
    value=_cosid_value,
    slope=_cosid_slope,
    trusted=True,
)


def _minsin_value(x: Tensor) -> Tensor:
    return torch.where(x < 0, x, torch.sin(torch.where(x < 0, torch.zeros_like(x), x)))


def _minsin_slope(x: Tensor) -> Tensor:
    return torch.where(x < 0, torch.ones_like(x), torch.cos(torch.where(x < 0, torch.zeros_like(x), x)))


MINSIN = Activation(
    name="minsin",
    formula="Piecewise((x, x < 0), (sin(x), True))",
    aliases=("min_sin",),
    family="searched",
    source=sources.RAMACHANDRAN,
    remarks=("min(x, sin x): x below zero, sin x above.",),
    traits=Traits(limits=(-INFINITY, math.nan), slope_limits=(1.0, math.nan), bounds=(-INFINITY, 1.0), turning=None),
    value=_minsin_value,
    slope=_minsin_slope,
    trusted=True,
)


def _arctid_value(x: Tensor) -> Tensor:
    angle = torch.atan(x)
    return angle * angle - x


def _arctid_slope(x: Tensor) -> Tensor:
    return 2 * torch.atan(x) * arctan_slope(x) - 1


ARCTID = Activation(
    name="arctid",
    formula="atan(x)**2 - x",
    aliases=("tanhrev", "arctan_identity"),
    family="searched",
    source=sources.RAMACHANDRAN,
    remarks=(
        "(tan^-1 x)² - x: tan^-1 is the arcus tangens; public Keras code that takes it as 1/tan is wrong. Never "
        "rises: its "
        "slope is -0.17 at most. tanhrev in the code of Eger et al.",
    ),
    traits=Traits(limits=(INFINITY, -INFINITY), slope_limits=(-1.0, -1.0), bounds=(-INFINITY, INFINITY), turning=()),
    value=_arctid_value,
    slope=_arctid_slope,
    trusted=True,
)


def _maxtanh_value(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, torch.tanh(x))


def _maxtanh_slope(x: Tensor) -> Tensor:
    return torch.where(x > 0, torch.ones_like(x), sech_squared(x))


MAXTANH = Activation(
    name="maxtanh",
    formula="Piecewise((x, x > 0), (tanh(x), True))",
    aliases=("max_tanh",),
    family="searched",
    source=sources.RAMACHANDRAN,
    remarks=("max(x, tanh x): x above zero, tanh below; the slope is continuous.",),
    traits=Traits(limits=(-1.0, INFINITY), slope_limits=(0.0, 1.0), bounds=(-1.0, INFINITY)),
    value=_maxtanh_value,
    slope=_maxtanh_slope,
    trusted=True,
)

MAXSIG_CROSSING = 0.6590460684074067  # the float nearest to the root of x = σ(x)


def _maxsig_value(x: Tensor) -> Tensor:
    return torch.where(x > MAXSIG_CROSSING, x, logistic(x))


def _maxsig_slope(x: Tensor) -> Tensor:
    return torch.where(x > MAXSIG_CROSSING, torch.ones_like(x), logistic_slope(x))


MAXSIG = Activation(
    name="maxsig",
    formula="Max(x, 1/(1 + exp(-x)))",
    aliases=("max_sig", "max_sigmoid"),
    family="searched",
    source=sources.RAMACHANDRAN,
    remarks=("The two pieces meet at 0.659046, where x = σ(x).",),
    kinks=(Kink(MAXSIG_CROSSING, "left"),),
    traits=Traits(limits=(0.0, INFINITY), slope_limits=(0.0, 1.0), bounds=(0.0, INFINITY)),
    value=_maxsig_value,
    slope=_maxsig_slope,
    trusted=True,
)


def _cube_value(x: Tensor) -> Tensor:
    return x * x * x


def _cube_slope(x: Tensor) -> Tensor:
    return 3 * (x * x)


CUBE = Activation(
    name="cube",
    formula="x**3",
    aliases=("cubic",),
    family="searched",
    source=sources.EGER,
    remarks=("Explodes: 1,000 for an input of 10. Used in a dependency parser by Chen and Manning 2014.",),
    traits=Traits(
        limits=(-INFINITY, INFINITY), slope_limits=(INFINITY, INFINITY), bounds=(-INFINITY, INFINITY), symmetry="odd"
    ),
    value=_cube_value,
    slope=_cube_slope,
    trusted=True,
)

ACTIVATIONS = (COSID, MINSIN, ARCTID, MAXTANH, MAXSIG, CUBE)
