"""Waves and bumps: sine, cosine, sinc, Gaussian."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hillock.activations import sources
from hillock.activations.declaration import Activation
from hillock.activations.parts import Traits
from hillock.activations.stable import bounded, minus_magnitude

NO_LIMIT = (math.nan, math.nan)


def _sine_value(x: Tensor) -> Tensor:
    return torch.sin(x)


def _sine_slope(x: Tensor) -> Tensor:
    return torch.cos(x)


SINUSOID = Activation(
    name="sinusoid",
    formula="sin(x)",
    aliases=("sin", "sine"),
    family="periodic",
    source=sources.SIREN,
    remarks=("Layers of these (SIREN) scale the first input by 30; that factor belongs to the layer before.",),
    traits=Traits(limits=NO_LIMIT, slope_limits=NO_LIMIT, bounds=(-1.0, 1.0), turning=None, symmetry="odd"),
    value=_sine_value,
    slope=_sine_slope,
    trusted=True,
)


def _cosine_slope(x: Tensor) -> Tensor:
    return -torch.sin(x)


COSINE = Activation(
    name="cosine",
    formula="cos(x)",
    aliases=("cos",),
    family="periodic",
    source=sources.SHEEHAN,
    remarks=("Even, so the sign of the input is lost.",),
    traits=Traits(limits=NO_LIMIT, slope_limits=NO_LIMIT, bounds=(-1.0, 1.0), turning=None, symmetry="even"),
    value=_sine_slope,
    slope=_cosine_slope,
    trusted=True,
)


def _sinc_value(x: Tensor) -> Tensor:
    nonzero = torch.where((x == 0) | torch.isinf(x), torch.ones_like(x), x)
    ends = torch.where(x == 0, torch.ones_like(x), torch.zeros_like(x))
    return torch.where((x == 0) | torch.isinf(x), ends, torch.sin(nonzero) / nonzero)


def _sinc_slope(x: Tensor) -> Tensor:
    # cos(x)/x - sin(x)/x² cancels near 0; there the series -x/3 + x³/30 - ..., coefficients (-1)^k 2k/(2k + 1)!
    near = minus_magnitude(x) > -1
    inner = torch.where(near, x, torch.zeros_like(x))
    square = inner * inner
    series = torch.zeros_like(x)
    for k in range(10, 0, -1):
        series = series * square + (-1) ** k * 2 * k / math.factorial(2 * k + 1)
    outer = torch.where(near | torch.isinf(x), torch.ones_like(x), x)
    far = (torch.cos(outer) - torch.sin(outer) / outer) / outer
    return torch.where(near, inner * series, torch.where(torch.isinf(x), torch.zeros_like(x), far))


SINC = Activation(
    name="sinc",
    formula="Piecewise((sin(x)/x, Ne(x, 0)), (1, True))",
    aliases=("cardinal_sine",),
    family="periodic",
    source=sources.SHEEHAN,
    remarks=("Unnormalised: sin(x)/x. torch.sinc and numpy.sinc are sin(πx)/(πx).",),
    traits=Traits(
        limits=(0.0, 0.0),
        slope_limits=(0.0, 0.0),
        bounds=(-0.21723362821122166, 1.0),
        turning=None,
        symmetry="even",
    ),
    value=_sinc_value,
    slope=_sinc_slope,
    trusted=True,
)


def _gaussian_value(x: Tensor) -> Tensor:
    near = bounded(x, 100.0)
    return torch.exp(-near * near)


def _gaussian_slope(x: Tensor) -> Tensor:
    near = bounded(x, 100.0)
    return -2 * near * torch.exp(-near * near)


GAUSSIAN = Activation(
    name="gaussian",
    formula="exp(-x**2)",
    aliases=("gauss", "radial_basis"),
    family="periodic",
    source=sources.BROOMHEAD_LOWE,
    remarks=("e^(-x²), without the 1/2 of the normal density.",),
    traits=Traits(limits=(0.0, 0.0), slope_limits=(0.0, 0.0), bounds=(0.0, 1.0), turning=(0.0,), symmetry="even"),
    value=_gaussian_value,
    slope=_gaussian_slope,
    trusted=True,
)

ACTIVATIONS = (SINUSOID, COSINE, SINC, GAUSSIAN)
