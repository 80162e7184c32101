"""Made of straight pieces with flat ends or flat middles: hard sigmoids, clipped and thresholded lines, shrinkers."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hillock.activations import sources
from hillock.activations.declaration import Activation
from hillock.activations.parts import Kink, Parameter, Traits
from hillock.activations.stable import choose, full, minus_magnitude

INFINITY = math.inf
NO_HALF = (
    "The study notes write 0.2x between -2.5 and 2.5 without the 0.5. That function is no sigmoid: it jumps "
    "from 0 to -0.5 "
    "at -2.5 and from 0.5 to 1 at 2.5."
)


def _clip(x: Tensor, low: float | Tensor, high: float | Tensor) -> Tensor:
    return torch.where(x <= low, full(x, low), torch.where(x >= high, full(x, high), x))


def _inside(x: Tensor, low: float | Tensor, high: float | Tensor) -> Tensor:
    """Return 1 for low < x < high and 0 elsewhere, NaN for NaN."""
    return choose((x > low) & (x < high), x, 1.0, 0.0)


def _hard_tanh_value(x: Tensor, low: float | Tensor, high: float | Tensor) -> Tensor:
    return _clip(x, low, high)


def _hard_tanh_slope(x: Tensor, low: float | Tensor, high: float | Tensor) -> Tensor:
    return _inside(x, low, high)


HARD_TANH = Activation(
    name="hard_tanh",
    formula="Piecewise((low, x <= low), (high, x >= high), (x, True))",
    aliases=("relu_n1_to_1", "clip"),
    family="clipped",
    source=sources.COLLOBERT,
    remarks=(
        "ReLU1 is not an alias: it is clip(x, -1, 1) in TFLite (RELU_N1_TO_1) and in the study notes, clip(x, 0, 1) "
        "elsewhere.",
        "The slope at ±1 is 0, as in torch.",
    ),
    parameters=(
        Parameter("low", -1.0, meaning="lowest value"),
        Parameter("high", 1.0, meaning="highest value"),
    ),
    kinks=(Kink("low", "left"), Kink("high", "right")),
    traits=Traits(limits=(-1.0, 1.0), slope_limits=(0.0, 0.0), bounds=(-1.0, 1.0), symmetry="odd"),
    value=_hard_tanh_value,
    slope=_hard_tanh_slope,
    trusted=True,
)


def _hard_sigmoid_value(x: Tensor) -> Tensor:
    return (_clip(x, -3.0, 3.0) + 3) / 6


def _hard_sigmoid_slope(x: Tensor) -> Tensor:
    return choose((x > -3) & (x < 3), x, 1 / 6, 0.0)


_ZERO_TO_ONE = Traits(limits=(0.0, 1.0), slope_limits=(0.0, 0.0), bounds=(0.0, 1.0))

HARD_SIGMOID = Activation(
    name="hard_sigmoid",
    formula="Piecewise((0, x <= -3), (1, x >= 3), (x/6 + 1/2, True))",
    aliases=("hard_sigmoid_torch", "hard_sigmoid_mobilenet_v3"),
    family="clipped",
    source=sources.MOBILENET_V3,
    remarks=(
        "relu6(x + 3)/6: PyTorch, MobileNetV3, Keras 3 (whose documentation still says 0.2x + 0.5), Paddle 2. "
        "Largest difference to the sigmoid 0.0692 at ±1.317.",
        "variant='keras' is clip(0.2x + 0.5), variant='binary_connect' clip((x + 1)/2).",
        NO_HALF,
    ),
    kinks=(Kink(-3.0, "left"), Kink(3.0, "right")),
    traits=_ZERO_TO_ONE,
    value=_hard_sigmoid_value,
    slope=_hard_sigmoid_slope,
    variants=(
        ("variant", "torch", "hard_sigmoid"),
        ("variant", "keras", "hard_sigmoid_keras"),
        ("variant", "binary_connect", "hard_sigmoid_binary_connect"),
    ),
    trusted=True,
)


def _hard_sigmoid_keras_value(x: Tensor) -> Tensor:
    return (_clip(x, -2.5, 2.5) + 2.5) / 5


def _hard_sigmoid_keras_slope(x: Tensor) -> Tensor:
    return choose((x > -2.5) & (x < 2.5), x, 0.2, 0.0)


HARD_SIGMOID_KERAS = Activation(
    name="hard_sigmoid_keras",
    formula="Piecewise((0, x <= -5/2), (1, x >= 5/2), (x/5 + 1/2, True))",
    aliases=("hard_sigmoid_theano", "hard_sigmoid_onnx", "hard_sigmoid_keras2"),
    family="clipped",
    source=sources.GULCEHRE,
    remarks=(
        "clip(0.2x + 0.5, 0, 1): Theano, Keras up to 2, TensorFlow, ONNX by default, Paddle Fluid, and Sheehan's list. "
        "Largest difference to the sigmoid 0.0759 at ±2.5.",
        NO_HALF,
    ),
    kinks=(Kink(-2.5, "left"), Kink(2.5, "right")),
    traits=_ZERO_TO_ONE,
    value=_hard_sigmoid_keras_value,
    slope=_hard_sigmoid_keras_slope,
    trusted=True,
)


def _hard_sigmoid_binary_connect_value(x: Tensor) -> Tensor:
    return (_clip(x, -1.0, 1.0) + 1) / 2


def _hard_sigmoid_binary_connect_slope(x: Tensor) -> Tensor:
    return choose((x > -1) & (x < 1), x, 0.5, 0.0)


HARD_SIGMOID_BINARY_CONNECT = Activation(
    name="hard_sigmoid_binary_connect",
    formula="Piecewise((0, x <= -1), (1, x >= 1), ((x + 1)/2, True))",
    family="clipped",
    source=sources.BINARY_CONNECT,
    remarks=("clip((x + 1)/2, 0, 1), the probability with which BinaryConnect draws a weight of +1.",),
    kinks=(Kink(-1.0, "left"), Kink(1.0, "right")),
    traits=_ZERO_TO_ONE,
    value=_hard_sigmoid_binary_connect_value,
    slope=_hard_sigmoid_binary_connect_slope,
    trusted=True,
)


def _relu6_value(x: Tensor) -> Tensor:
    return _clip(x, 0.0, 6.0)


def _relu6_slope(x: Tensor) -> Tensor:
    return _inside(x, 0.0, 6.0)


RELU6 = Activation(
    name="relu6",
    formula="Piecewise((0, x <= 0), (6, x >= 6), (x, True))",
    family="clipped",
    source=sources.KRIZHEVSKY_DBN,
    remarks=("The slope is 0 at 0 and at 6, as in torch. Paddle's brelu is clip(x, 0, 24).",),
    kinks=(Kink(0.0, "left"), Kink(6.0, "right")),
    traits=Traits(limits=(0.0, 6.0), slope_limits=(0.0, 0.0), bounds=(0.0, 6.0)),
    value=_relu6_value,
    slope=_relu6_slope,
    trusted=True,
)


def _threshold_value(x: Tensor, threshold: float | Tensor, replacement: float | Tensor) -> Tensor:
    return torch.where(x <= threshold, full(x, replacement), x)


def _threshold_slope(x: Tensor, threshold: float | Tensor, replacement: float | Tensor) -> Tensor:
    return choose(x > threshold, x, 1.0, 0.0)


THRESHOLD = Activation(
    name="threshold",
    formula="Piecewise((x, x > threshold), (replacement, True))",
    aliases=("thresholded_relu", "trec"),
    family="clipped",
    source=sources.KONDA,
    remarks=("The defaults are those of Keras' ThresholdedReLU; torch.nn.Threshold has none.",),
    parameters=(
        Parameter("threshold", 1.0, meaning="inputs up to here are replaced"),
        Parameter("replacement", 0.0, meaning="what replaces them"),
    ),
    kinks=(Kink("threshold", "left", jump=True),),
    traits=Traits(limits=(0.0, INFINITY), slope_limits=(0.0, 1.0), bounds=(0.0, INFINITY)),
    value=_threshold_value,
    slope=_threshold_slope,
    trusted=True,
)


def _hard_shrink_value(x: Tensor, threshold: float | Tensor) -> Tensor:
    return torch.where(minus_magnitude(x) >= -threshold, torch.zeros_like(x), x)


def _shrink_slope(x: Tensor, threshold: float | Tensor) -> Tensor:
    return choose(minus_magnitude(x) < -threshold, x, 1.0, 0.0)


HARD_SHRINK = Activation(
    name="hard_shrink",
    formula="Piecewise((x, x > threshold), (x, x < -threshold), (0, True))",
    aliases=("hardshrink", "hard_thresholding"),
    family="clipped",
    source=sources.DONOHO,
    remarks=("0 for |x| <= threshold, where the slope is 0 as well (torch).",),
    parameters=(Parameter("threshold", 0.5, low=0.0, meaning="half the width of the flat middle"),),
    kinks=(Kink("-threshold", "right", jump=True), Kink("threshold", "left", jump=True)),
    traits=Traits(limits=(-INFINITY, INFINITY), slope_limits=(1.0, 1.0), bounds=(-INFINITY, INFINITY), symmetry="odd"),
    value=_hard_shrink_value,
    slope=_shrink_slope,
    trusted=True,
)


def _soft_shrink_value(x: Tensor, threshold: float | Tensor) -> Tensor:
    outside = torch.where(x > 0, x - threshold, x + threshold)
    return torch.where(minus_magnitude(x) >= -threshold, torch.zeros_like(x), outside)


SOFT_SHRINK = Activation(
    name="soft_shrink",
    formula="Piecewise((x - threshold, x > threshold), (x + threshold, x < -threshold), (0, True))",
    aliases=("softshrink", "soft_thresholding"),
    family="clipped",
    source=sources.DONOHO,
    remarks=("The step of sparse coding (ISTA). The slope at ±threshold is 0.",),
    parameters=(Parameter("threshold", 0.5, low=0.0, meaning="how much every input is drawn towards 0"),),
    kinks=(Kink("-threshold", "right"), Kink("threshold", "left")),
    traits=Traits(limits=(-INFINITY, INFINITY), slope_limits=(1.0, 1.0), bounds=(-INFINITY, INFINITY), symmetry="odd"),
    value=_soft_shrink_value,
    slope=_shrink_slope,
    trusted=True,
)


def _tanh_shrink_value(x: Tensor) -> Tensor:
    # Near 0, x - tanh(x) cancels. Lambert's fraction tanh(x) = x/(1 + w), w = x²/(3 + x²/(5 + ...)), gives x w/(1 + w).
    near = minus_magnitude(x) > -1
    inner = torch.where(near, x, torch.ones_like(x))
    square = inner * inner
    fraction = torch.full_like(x, 21.0)
    for odd in range(19, 1, -2):  # ten levels: below 1e-17 for |x| < 1
        fraction = odd + square / fraction
    w = square / fraction
    return torch.where(near, inner * (w / (1 + w)), x - torch.tanh(x))


def _tanh_shrink_slope(x: Tensor) -> Tensor:
    y = torch.tanh(x)
    return y * y


TANH_SHRINK = Activation(
    name="tanh_shrink",
    formula="x - tanh(x)",
    aliases=("tanhshrink",),
    family="clipped",
    source=sources.TORCH7,
    remarks=("About x³/3 near 0. torch computes the difference, which cancels: 0 for |x| < 1e-4 in float32.",),
    traits=Traits(limits=(-INFINITY, INFINITY), slope_limits=(1.0, 1.0), bounds=(-INFINITY, INFINITY), symmetry="odd"),
    value=_tanh_shrink_value,
    slope=_tanh_shrink_slope,
    trusted=True,
)

ACTIVATIONS = (
    HARD_TANH,
    HARD_SIGMOID,
    HARD_SIGMOID_KERAS,
    HARD_SIGMOID_BINARY_CONNECT,
    RELU6,
    THRESHOLD,
    HARD_SHRINK,
    SOFT_SHRINK,
    TANH_SHRINK,
)
