"""The rectifier and its relatives: straight lines that bend at zero."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hillock.activations import sources
from hillock.activations.declaration import Activation
from hillock.activations.parts import Kink, Parameter, Traits
from hillock.activations.stable import choose

INFINITY = math.inf


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


def _rrelu_value(x: Tensor, negative_slope: float | Tensor) -> Tensor:
    return torch.where(x >= 0, x, x * negative_slope)


def _rrelu_slope(x: Tensor, negative_slope: float | Tensor) -> Tensor:
    return choose(x >= 0, x, 1.0, negative_slope)


RRELU = Activation(
    name="rrelu",
    formula="Piecewise((x, x >= 0), (negative_slope*x, True))",
    aliases=("randomized_relu", "randomised_relu", "randomized_leaky_relu"),
    family="rectifier",
    source=sources.XU_RRELU,
    remarks=(
        "In training every element draws its own slope from U(1/8, 1/3), as in torch; outside training it is the "
        "middle, 11/48 = 0.2292.",
        "The paper draws the divisor instead, from U(3, 8), and tests with 5.5, a slope of 0.1818: interval='paper'.",
        "The slope at 0 is 1 by the formula of the paper (x >= 0), against leaky ReLU's.",
    ),
    parameters=(Parameter("negative_slope", 11 / 48, low=1 / 8, high=1 / 3, drawn=True, meaning="slope below zero"),),
    kinks=(Kink(0.0, "right"),),
    traits=Traits(limits=(-INFINITY, INFINITY), slope_limits=(11 / 48, 1.0), bounds=(-INFINITY, INFINITY)),
    value=_rrelu_value,
    slope=_rrelu_slope,
    variants=(("interval", "torch", "rrelu"), ("interval", "paper", "rrelu_divisor")),
    trusted=True,
)


def _rrelu_divisor_value(x: Tensor, divisor: float | Tensor) -> Tensor:
    return torch.where(x >= 0, x, x / divisor)


def _rrelu_divisor_slope(x: Tensor, divisor: float | Tensor) -> Tensor:
    return choose(x >= 0, x, 1.0, 1 / divisor)


RRELU_DIVISOR = Activation(
    name="rrelu_divisor",
    formula="Piecewise((x, x >= 0), (x/divisor, True))",
    aliases=("rrelu_paper", "insanity"),
    family="rectifier",
    source=sources.XU_RRELU,
    remarks=(
        "The paper's own form: every element draws a divisor from U(3, 8) in training; 5.5 outside. The mean of "
        "1/divisor "
        "is 0.196, not 1/5.5.",
        "cxxnet and Caffe call it Insanity.",
    ),
    parameters=(Parameter("divisor", 5.5, low=3.0, high=8.0, drawn=True, meaning="what x is divided by below zero"),),
    kinks=(Kink(0.0, "right"),),
    traits=Traits(limits=(-INFINITY, INFINITY), slope_limits=(1 / 5.5, 1.0), bounds=(-INFINITY, INFINITY)),
    value=_rrelu_divisor_value,
    slope=_rrelu_divisor_slope,
    trusted=True,
)


def _absolute_value(x: Tensor) -> Tensor:
    return torch.where(x < 0, -x, x)


def _absolute_slope(x: Tensor) -> Tensor:
    return torch.where(torch.isnan(x), x, torch.sign(x))


ABSOLUTE = Activation(
    name="absolute",
    formula="Abs(x)",
    aliases=("abs", "absolute_value", "rectification"),
    family="rectifier",
    source=sources.JARRETT,
    remarks=("The slope at 0 is 0.", "= Maxout of x and -x = PReLU with slope -1."),
    kinks=(Kink(0.0, 0.0),),
    traits=Traits(
        limits=(INFINITY, INFINITY), slope_limits=(-1.0, 1.0), bounds=(0.0, INFINITY), turning=(0.0,), symmetry="even"
    ),
    value=_absolute_value,
    slope=_absolute_slope,
    trusted=True,
)


def _squared_relu_value(x: Tensor) -> Tensor:
    y = torch.where(x <= 0, torch.zeros_like(x), x)
    return y * y


def _squared_relu_slope(x: Tensor) -> Tensor:
    return 2 * torch.where(x <= 0, torch.zeros_like(x), x)


SQUARED_RELU = Activation(
    name="squared_relu",
    formula="Piecewise((x**2, x > 0), (0, True))",
    aliases=("relu_squared", "relu2", "sqrelu"),
    family="rectifier",
    source=sources.PRIMER,
    remarks=("Grows quadratically: the gradient of a large input is large.",),
    traits=Traits(limits=(0.0, INFINITY), slope_limits=(0.0, INFINITY), bounds=(0.0, INFINITY)),
    value=_squared_relu_value,
    slope=_squared_relu_slope,
    trusted=True,
)

ACTIVATIONS = (RELU, LEAKY_RELU, PRELU, RRELU, RRELU_DIVISOR, ABSOLUTE, SQUARED_RELU)
