"""The rectifier and its relatives: linear, with another slope below zero, or bent there by an exponential."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hillock.activations import sources
from hillock.activations.declaration import Activation
from hillock.activations.parts import Kink, Parameter, Traits
from hillock.activations.stable import at_most_zero, choose, full, logistic
from hillock.activations.stable import softplus as stable_softplus

INFINITY = math.inf
SELU_ALPHA = 1.6732632423543772848170429916717  # Klambauer et al., equation 14, to full precision
SELU_SCALE = 1.0507009873554804934193349852946


def _relu_value(x: Tensor) -> Tensor:
    return torch.where(x <= 0, torch.zeros_like(x), x)


def _relu_slope(x: Tensor) -> Tensor:
    return choose(x > 0, x, 1.0, 0.0)


RELU = Activation(
    name="relu",
    formula="Piecewise((x, x > 0), (0, True))",
    aliases=("rectifier", "rectified_linear_unit"),
    family="rectifier",
    source=sources.NAIR_HINTON,
    remarks=(
        "Older than the source: Fukushima 1969, Hahnloser 2000, Jarrett 2009; made popular by AlexNet in 2012.",
        "The slope at 0 is 0, as in torch and TensorFlow. torch loses a NaN in backward; hillock does not.",
    ),
    kinks=(Kink(0.0, "left"),),
    traits=Traits(limits=(0.0, INFINITY), slope_limits=(0.0, 1.0), bounds=(0.0, INFINITY)),
    value=_relu_value,
    slope=_relu_slope,
    trusted=True,
)


def _leaky_value(x: Tensor, negative_slope: float | Tensor) -> Tensor:
    return torch.where(x > 0, x, x * negative_slope)


def _leaky_slope(x: Tensor, negative_slope: float | Tensor) -> Tensor:
    return choose(x > 0, x, 1.0, negative_slope)


LEAKY_RELU = Activation(
    name="leaky_relu",
    formula="Piecewise((x, x > 0), (negative_slope*x, True))",
    aliases=("lrelu", "leaky_rectifier"),
    family="rectifier",
    source=sources.MAAS,
    remarks=(
        "The slope differs: torch 0.01; tf.nn.leaky_relu and keras.ops 0.2; the Keras layer 0.3; darknet 0.1. "
        "Caffe2 and Xu et al. write x/a and give the divisor a.",
        "The slope below zero has to be positive to keep the order of inputs; the study notes allow a negative one.",
    ),
    parameters=(Parameter("negative_slope", 0.01, meaning="slope below zero"),),
    kinks=(Kink(0.0, "left"),),
    traits=Traits(limits=(-INFINITY, INFINITY), slope_limits=(0.01, 1.0), bounds=(-INFINITY, INFINITY)),
    value=_leaky_value,
    slope=_leaky_slope,
    trusted=True,
)

PRELU = Activation(
    name="prelu",
    formula="Piecewise((x, x > 0), (negative_slope*x, True))",
    aliases=("parametric_relu",),
    family="rectifier",
    source=sources.HE_PRELU,
    remarks=(
        "One slope for a layer, or one per channel (num_channels=); the study notes say one per neuron.",
        "Starts at 0.25 and is neither decayed nor bounded, so it may leave [0, 1]. Keras learns one slope per element "
        "by default and starts at 0.",
    ),
    parameters=(Parameter("negative_slope", 0.25, learned=True, weight_decay=False, meaning="slope below zero"),),
    kinks=(Kink(0.0, "left"),),
    traits=Traits(limits=(-INFINITY, INFINITY), slope_limits=(0.25, 1.0), bounds=(-INFINITY, INFINITY)),
    value=_leaky_value,
    slope=_leaky_slope,
    trusted=True,
)


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

ACTIVATIONS = (RELU, LEAKY_RELU, PRELU, ELU, SELU, SOFTPLUS)
