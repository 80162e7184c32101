"""Bent by an exponential below zero, or smoothed all along: ELU and its kin, softplus and its clipped twin."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hillock.activations import sources
from hillock.activations.declaration import Activation
from hillock.activations.parts import Kink, Parameter, Traits
from hillock.activations.stable import at_most_zero, finite, full, logistic, steps
from hillock.activations.stable import softplus as stable_softplus

INFINITY = math.inf
SELU_ALPHA = 1.6732632423543772848170429916717  # Klambauer et al., equation 14, to full precision
SELU_SCALE = 1.0507009873554804934193349852946


def _elu_value(x: Tensor, alpha: float | Tensor) -> Tensor:
    return torch.where(x > 0, x, alpha * torch.expm1(at_most_zero(x)))


def _elu_slope(x: Tensor, alpha: float | Tensor) -> Tensor:
    return torch.where(x > 0, torch.ones_like(x), alpha * torch.exp(at_most_zero(x)))


ELU = Activation(
    name="elu",
    formula="Piecewise((x, x > 0), (alpha*(exp(x) - 1), True))",
    aliases=("exponential_linear_unit",),
    family="exponential",
    source=sources.CLEVERT,
    remarks=(
        "The slope is continuous at 0 only for alpha = 1; there it is alpha, as in torch.",
        "It saturates at -alpha: for very negative inputs the gradient does vanish, against what the study notes say.",
    ),
    parameters=(Parameter("alpha", 1.0, low=0.0, meaning="minus the limit at minus infinity"),),
    kinks=(Kink(0.0, "left"),),
    traits=Traits(limits=(-1.0, INFINITY), slope_limits=(0.0, 1.0), bounds=(-1.0, INFINITY)),
    value=_elu_value,
    slope=_elu_slope,
    trusted=True,
)


def _selu_value(x: Tensor) -> Tensor:
    return torch.where(x > 0, SELU_SCALE * x, (SELU_SCALE * SELU_ALPHA) * torch.expm1(at_most_zero(x)))


def _selu_slope(x: Tensor) -> Tensor:
    return torch.where(x > 0, full(x, SELU_SCALE), (SELU_SCALE * SELU_ALPHA) * torch.exp(at_most_zero(x)))


SELU = Activation(
    name="selu",
    formula="1.0507009873554804934193349852946"
    "*Piecewise((x, x > 0), (1.6732632423543772848170429916717*(exp(x) - 1), True))",
    aliases=("scaled_elu",),
    family="exponential",
    source=sources.KLAMBAUER,
    remarks=(
        "Mean 0 and variance 1 are a fixed point: use initialisation N(0, 1/n) and alpha dropout.",
        "The slope at 0 is the left one, 1.7581, as in torch.",
    ),
    kinks=(Kink(0.0, "left"),),
    traits=Traits(
        limits=(-SELU_SCALE * SELU_ALPHA, INFINITY),
        slope_limits=(0.0, SELU_SCALE),
        bounds=(-SELU_SCALE * SELU_ALPHA, INFINITY),
    ),
    value=_selu_value,
    slope=_selu_slope,
    trusted=True,
)


def _softplus_value(x: Tensor, beta: float | Tensor, threshold: float | Tensor) -> Tensor:
    z = beta * x
    return torch.where(z > threshold, x, stable_softplus(z) / beta)


def _softplus_slope(x: Tensor, beta: float | Tensor, threshold: float | Tensor) -> Tensor:
    z = beta * x
    return torch.where(z > threshold, torch.ones_like(x), logistic(z))


SOFTPLUS = Activation(
    name="softplus",
    formula="Piecewise((x, beta*x > threshold), (log(1 + exp(beta*x))/beta, True))",
    aliases=("smooth_relu",),
    family="exponential",
    source=sources.DUGAS,
    remarks=(
        "torch turns linear where beta·x > 20 to avoid overflow; here nothing overflows, and threshold is infinite "
        "unless given. In float32 the two agree: log(1 + e^-20) is 2e-9.",
        "Paddle's soft_relu is another function: its input is clipped, and its gradient dies outside.",
    ),
    parameters=(
        Parameter("beta", 1.0, low=1e-6, meaning="sharpness of the bend"),
        Parameter("threshold", INFINITY, low=0.0, meaning="beta·x above which it is exactly x"),
    ),
    traits=Traits(limits=(0.0, INFINITY), slope_limits=(0.0, 1.0), bounds=(0.0, INFINITY)),
    value=_softplus_value,
    slope=_softplus_slope,
    trusted=True,
)


def _celu_value(x: Tensor, alpha: float | Tensor) -> Tensor:
    return torch.where(x > 0, x, alpha * torch.expm1(at_most_zero(x) / alpha))


def _celu_slope(x: Tensor, alpha: float | Tensor) -> Tensor:
    return torch.where(x > 0, torch.ones_like(x), torch.exp(at_most_zero(x) / alpha))


CELU = Activation(
    name="celu",
    formula="Piecewise((x, x > 0), (alpha*(exp(x/alpha) - 1), True))",
    aliases=("continuous_elu",),
    family="exponential",
    source=sources.BARRON,
    remarks=("Its slope is continuous for every alpha, which ELU's is not; equal to ELU for alpha = 1.",),
    parameters=(Parameter("alpha", 1.0, low=1e-6, meaning="minus the limit at minus infinity"),),
    traits=Traits(limits=(-1.0, INFINITY), slope_limits=(0.0, 1.0), bounds=(-1.0, INFINITY)),
    value=_celu_value,
    slope=_celu_slope,
    trusted=True,
)


def _clipped(x: Tensor, t: float | Tensor) -> Tensor:
    low = full(x, -t)
    return torch.where(x <= low, low, torch.where(x >= t, full(x, t), x))


def _soft_relu_value(x: Tensor, threshold: float | Tensor) -> Tensor:
    return stable_softplus(_clipped(x, threshold))


def _soft_relu_slope(x: Tensor, threshold: float | Tensor) -> Tensor:
    return steps(x, (-threshold, 0.0), (threshold, 1.0), last=0.0) * torch.where(
        x == threshold, torch.zeros_like(x), logistic(x)
    )


SOFT_RELU = Activation(
    name="soft_relu",
    formula="Piecewise((log(1 + exp(-threshold)), x <= -threshold), (log(1 + exp(threshold)), x >= threshold), "
    "(log(1 + exp(x)), True))",
    aliases=("paddle_soft_relu",),
    family="exponential",
    source=sources.PADDLE,
    remarks=(
        "log(1 + e^c) with c = x clipped to ±threshold, so it saturates at about the threshold and its gradient is 0 "
        "outside. Softplus is another function.",
        "Paddle's documentation uses 40, some of its examples 20.",
    ),
    parameters=(Parameter("threshold", 40.0, low=0.0, meaning="inputs are clipped to ± this"),),
    kinks=(Kink("-threshold", "left"), Kink("threshold", "right")),
    traits=Traits(
        limits=(math.log1p(math.exp(-40)), 40 + math.log1p(math.exp(-40))),
        slope_limits=(0.0, 0.0),
        bounds=(math.log1p(math.exp(-40)), 40 + math.log1p(math.exp(-40))),
    ),
    value=_soft_relu_value,
    slope=_soft_relu_slope,
    trusted=True,
)


def _bent_identity_value(x: Tensor) -> Tensor:
    # (sqrt(x² + 1) - 1)/2 = x · x/(2 (sqrt(x² + 1) + 1)), which neither cancels nor overflows
    near = finite(x)
    bent = 0.5 * near * (near / (torch.hypot(near, torch.ones_like(x)) + 1)) + near
    return torch.where(torch.isinf(x), x, bent)


def _bent_identity_slope(x: Tensor) -> Tensor:
    near = finite(x)
    return 0.5 * (near / torch.hypot(near, torch.ones_like(x))) + 1


BENT_IDENTITY = Activation(
    name="bent_identity",
    formula="(sqrt(x**2 + 1) - 1)/2 + x",
    family="exponential",
    source=sources.SHEEHAN,
    remarks=("The slope stays between 1/2 and 3/2: it neither saturates nor explodes.",),
    traits=Traits(limits=(-INFINITY, INFINITY), slope_limits=(0.5, 1.5), bounds=(-INFINITY, INFINITY)),
    value=_bent_identity_value,
    slope=_bent_identity_slope,
    trusted=True,
)

ACTIVATIONS = (ELU, SELU, CELU, SOFTPLUS, SOFT_RELU, BENT_IDENTITY)
