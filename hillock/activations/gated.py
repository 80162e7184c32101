"""The input times a gate of itself: SiLU, Swish, GELU in three forms, Mish."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hillock.activations import sources
from hillock.activations.declaration import Activation
from hillock.activations.parts import Parameter, Traits
from hillock.activations.stable import (
    INVERSE_SQRT_TWO_PI,
    bounded,
    decay,
    finite,
    finite_below,
    logistic,
)

INFINITY = math.inf
SQRT_TWO_OVER_PI = math.sqrt(2 / math.pi)


def _gated_by_logistic_slope(x: Tensor, z: Tensor) -> Tensor:
    """Return d/dx of x·σ(z) for z proportional to x: σ + z σ(1 - σ)."""
    n = decay(z)
    r = 1 / (1 + n)
    return torch.where(z < 0, n * r, r) + finite(z) * (n * r * r)


def _silu_value(x: Tensor) -> Tensor:
    return finite_below(x) * logistic(x)


def _silu_slope(x: Tensor) -> Tensor:
    return _gated_by_logistic_slope(x, x)


SILU = Activation(
    name="silu",
    formula="x/(1 + exp(-x))",
    aliases=("swish_1", "sigmoid_linear_unit", "acon_a"),
    family="gated",
    source=sources.ELFWING,
    remarks=(
        "= Swish with beta 1; first in Hendrycks and Gimpel 2016. Minimum -0.278465 at -1.278465.",
        "torch gives NaN at -inf, where the limit is 0, and 0 below x = -88.7 in float32.",
    ),
    traits=Traits(
        limits=(0.0, INFINITY),
        slope_limits=(0.0, 1.0),
        bounds=(-0.2784645427610738, INFINITY),
        turning=(-1.2784645427610738,),
    ),
    value=_silu_value,
    slope=_silu_slope,
    trusted=True,
)


def _swish_value(x: Tensor, beta: float | Tensor) -> Tensor:
    return finite_below(x) * logistic(beta * x)


def _swish_slope(x: Tensor, beta: float | Tensor) -> Tensor:
    return _gated_by_logistic_slope(x, beta * x)


SWISH = Activation(
    name="swish",
    formula="x/(1 + exp(-beta*x))",
    aliases=("swish_beta",),
    family="gated",
    source=sources.RAMACHANDRAN,
    remarks=(
        "beta is trained, starting at 1: one for a layer, or one per channel (num_channels=) as in the paper. "
        "With learned=False and beta=1 it is SiLU.",
        "beta = 0 gives x/2, beta to infinity gives ReLU. The paper's printed derivative has a slip.",
        "Needs the scale of batch normalisation switched on (some layers switch it off for ReLU).",
    ),
    parameters=(Parameter("beta", 1.0, learned=True, meaning="sharpness of the gate"),),
    traits=Traits(
        limits=(0.0, INFINITY),
        slope_limits=(0.0, 1.0),
        bounds=(-0.2784645427610738, INFINITY),
        turning=(-1.2784645427610738,),
    ),
    value=_swish_value,
    slope=_swish_slope,
    trusted=True,
)


def _normal_cdf(x: Tensor) -> Tensor:
    return 0.5 * torch.erfc(-x * math.sqrt(0.5))


def _gelu_value(x: Tensor) -> Tensor:
    return finite_below(x) * _normal_cdf(x)


def _gelu_slope(x: Tensor) -> Tensor:
    near = bounded(x)
    return _normal_cdf(x) + near * (INVERSE_SQRT_TWO_PI * torch.exp(-0.5 * near * near))


GELU = Activation(
    name="gelu",
    formula="x*erfc(-x/sqrt(2))/2",
    aliases=("gelu_erf", "gelu_none", "gaussian_error_linear_unit"),
    family="gated",
    source=sources.HENDRYCKS,
    remarks=(
        "The exact form x·Φ(x). PyTorch and tf.nn use it by default; JAX by default, BERT and GPT-2 use the tanh form.",
        "Minimum -0.169971 at -0.751792. torch loses the tail: 0 from x = -5.6 or so on in float32, NaN at -inf.",
    ),
    traits=Traits(
        limits=(0.0, INFINITY),
        slope_limits=(0.0, 1.0),
        bounds=(-0.16997120747990366, INFINITY),
        turning=(-0.7517915246935645,),
    ),
    value=_gelu_value,
    slope=_gelu_slope,
    variants=(
        ("approximate", "none", "gelu"),
        ("approximate", "tanh", "gelu_tanh"),
        ("approximate", "sigmoid", "gelu_sigmoid"),
    ),
    trusted=True,
)


def _gelu_tanh_value(x: Tensor) -> Tensor:
    near = bounded(x, 100.0)
    return finite_below(x) * logistic(2 * SQRT_TWO_OVER_PI * (near + 0.044715 * near * near * near))


def _gelu_tanh_slope(x: Tensor) -> Tensor:
    near = bounded(x, 100.0)
    square = near * near
    z = 2 * SQRT_TWO_OVER_PI * (near + 0.044715 * square * near)
    n = decay(z)
    r = 1 / (1 + n)
    z_slope = 2 * SQRT_TWO_OVER_PI * (1 + 3 * 0.044715 * square)
    return torch.where(z < 0, n * r, r) + near * z_slope * (n * r * r)


GELU_TANH = Activation(
    name="gelu_tanh",
    formula="x*(1 + tanh(sqrt(2/pi)*(x + 0.044715*x**3)))/2",
    aliases=("gelu_new", "gelu_fast", "gelu_pytorch_tanh"),
    family="gated",
    source=sources.HENDRYCKS,
    remarks=(
        "An approximation of GELU: largest difference 4.732e-4 at ±2.70.",
        "0.044715 is fitted, close to the best constant 0.044725; the Taylor coefficient would be "
        "(4 - π)/(6π) = 0.045540. The study notes call it a Taylor expansion, which it is not.",
        "torch's slope is NaN for |x| >= 1.845e19 in float32.",
    ),
    traits=Traits(
        limits=(0.0, INFINITY),
        slope_limits=(0.0, 1.0),
        bounds=(-0.17004075057125405, INFINITY),
        turning=(-0.7524614220710163,),
    ),
    value=_gelu_tanh_value,
    slope=_gelu_tanh_slope,
    trusted=True,
)


def _gelu_sigmoid_value(x: Tensor) -> Tensor:
    return finite_below(x) * logistic(1.702 * x)


def _gelu_sigmoid_slope(x: Tensor) -> Tensor:
    return _gated_by_logistic_slope(x, 1.702 * x)


GELU_SIGMOID = Activation(
    name="gelu_sigmoid",
    formula="x/(1 + exp(-1.702*x))",
    aliases=("quick_gelu",),
    family="gated",
    source=sources.HENDRYCKS,
    remarks=(
        "An approximation of GELU: largest difference 2.033e-2 at ±2.27. 1.702 is the best fit of σ(bx) to Φ; for GELU "
        "itself 1.773 would be (1.393e-2).",
        "Not a Taylor expansion either.",
    ),
    traits=Traits(
        limits=(0.0, INFINITY),
        slope_limits=(0.0, 1.0),
        bounds=(-0.2784645427610738 / 1.702, INFINITY),
        turning=(-1.2784645427610738 / 1.702,),
    ),
    value=_gelu_sigmoid_value,
    slope=_gelu_sigmoid_slope,
    trusted=True,
)


def _mish_value(x: Tensor) -> Tensor:
    # With w = e^x: tanh(softplus(x)) = (w² + 2w)/(w² + 2w + 2), written in n = e^-|x| on either side of 0.
    n = decay(x)
    a = torch.where(x < 0, n * (n + 2), 1 + 2 * n)
    d = torch.where(x < 0, a + 2, a + 2 * n * n)
    return finite_below(x) * (a / d)


def _mish_slope(x: Tensor) -> Tensor:
    # tanh(softplus) + x · 4w(1 + w)/(w² + 2w + 2)²
    n = decay(x)
    a = torch.where(x < 0, n * (n + 2), 1 + 2 * n)
    d = torch.where(x < 0, a + 2, a + 2 * n * n)
    bend = 4 * n * (1 + n) * torch.where(x < 0, torch.ones_like(x), n)
    return a / d + finite(x) * (bend / (d * d))


MISH = Activation(
    name="mish",
    formula="x*tanh(log(1 + exp(x)))",
    family="gated",
    source=sources.MISRA,
    remarks=("Minimum -0.308843 at -1.192431. torch gives NaN at -inf, where the limit is 0.",),
    traits=Traits(
        limits=(0.0, INFINITY),
        slope_limits=(0.0, 1.0),
        bounds=(-0.30884341301725041, INFINITY),
        turning=(-1.1924312145154952,),
    ),
    value=_mish_value,
    slope=_mish_slope,
    trusted=True,
)

ACTIVATIONS = (SILU, SWISH, GELU, GELU_TANH, GELU_SIGMOID, MISH)
