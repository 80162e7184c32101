"""Functions whose shape is learned with the weights: SReLU, APL, PAU, ACON-C, SMU.

PReLU is with the rectifiers, Swish with the gated functions. Every
one takes a layer-wide number or one number per channel for each of its parameters.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hillock.activations import sources
from hillock.activations.declaration import Activation
from hillock.activations.parts import Kink, Parameter, Traits
from hillock.activations.stable import (
    bounded,
    choose,
    decay,
    finite,
    finite_below,
    full,
    logistic,
    minus_magnitude,
    times,
)

INFINITY = math.inf
Number = float | Tensor


def _srelu_value(x: Tensor, t_left: Number, a_left: Number, t_right: Number, a_right: Number) -> Tensor:
    left = t_left + a_left * (x - t_left)
    right = t_right + a_right * (x - t_right)
    return torch.where(x <= t_left, left, torch.where(x >= t_right, right, x))


def _srelu_slope(x: Tensor, t_left: Number, a_left: Number, t_right: Number, a_right: Number) -> Tensor:
    return torch.where(x <= t_left, full(x, a_left), choose(x >= t_right, x, a_right, 1.0))


SRELU = Activation(
    name="srelu",
    formula="Piecewise((t_left + a_left*(x - t_left), x <= t_left), (t_right + a_right*(x - t_right), x >= t_right), "
    "(x, True))",
    aliases=("s_shaped_relu",),
    family="trained",
    source=sources.JIN_SRELU,
    remarks=(
        "Starts as leaky ReLU with slope 0.2, as the paper does; the paper then sets t_right from the largest "
        "inputs seen "
        "and only afterwards frees the parameters, which is not done here.",
        "keras-contrib starts all four elsewhere and stores t_right relative to t_left.",
    ),
    parameters=(
        Parameter("t_left", 0.0, learned=True, meaning="where the left bend is"),
        Parameter("a_left", 0.2, learned=True, meaning="slope left of it"),
        Parameter("t_right", 1.0, learned=True, meaning="where the right bend is"),
        Parameter("a_right", 1.0, learned=True, meaning="slope right of it"),
    ),
    kinks=(Kink("t_left", "left"), Kink("t_right", "right")),
    traits=Traits(limits=(-INFINITY, INFINITY), slope_limits=(0.2, 1.0), bounds=(-INFINITY, INFINITY)),
    value=_srelu_value,
    slope=_srelu_slope,
    trusted=True,
)


def _positive(x: Tensor) -> Tensor:
    return torch.where(x <= 0, torch.zeros_like(x), x)


def _apl_value(x: Tensor, a1: Number, b1: Number, a2: Number, b2: Number) -> Tensor:
    low = finite_below(x)  # a hinge that is switched off (a = 0) stays off at -∞
    return _positive(x) + a1 * _positive(b1 - low) + a2 * _positive(b2 - low)


def _apl_slope(x: Tensor, a1: Number, b1: Number, a2: Number, b2: Number) -> Tensor:
    return choose(x > 0, x, 1.0, 0.0) - a1 * (x < b1).to(x.dtype) - a2 * (x < b2).to(x.dtype)


APL = Activation(
    name="apl",
    formula="Max(x, 0) + a1*Max(b1 - x, 0) + a2*Max(b2 - x, 0)",
    aliases=("adaptive_piecewise_linear",),
    family="trained",
    source=sources.AGOSTINELLI,
    remarks=(
        "Two hinges (S = 2). The paper chooses S by validation, learns hinges per unit, and decays them by 0.001.",
        "Starts as ReLU with hinges waiting at ±0.5; the authors' code draws a from U(-0.2, 0.2) and b from "
        "N(0, 0.5²), "
        "for which no gain can be computed beforehand.",
    ),
    parameters=(
        Parameter("a1", 0.0, learned=True, meaning="slope of the first hinge"),
        Parameter("b1", -0.5, learned=True, meaning="place of the first hinge"),
        Parameter("a2", 0.0, learned=True, meaning="slope of the second hinge"),
        Parameter("b2", 0.5, learned=True, meaning="place of the second hinge"),
    ),
    kinks=(Kink(0.0, "left"), Kink("b1", "right"), Kink("b2", "right")),
    traits=Traits(limits=(0.0, INFINITY), slope_limits=(0.0, 1.0), bounds=(0.0, INFINITY)),
    value=_apl_value,
    slope=_apl_slope,
    trusted=True,
)

# Table 6 of the paper, start "leaky ReLU (0.01)", fitted on [-3, 3].
_PAU_START = {
    "a0": 0.02979246,
    "a1": 0.61837738,
    "a2": 2.32335207,
    "a3": 3.05202660,
    "a4": 1.48548002,
    "a5": 0.25103717,
    "b1": 1.14201226,
    "b2": 4.39322834,
    "b3": 0.87154450,
    "b4": 0.34720652,
}


def _horner(x: Tensor, *coefficients: Number) -> Tensor:
    """Return c0 + c1 x + c2 x² + ..."""
    result = full(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        result = result * x + coefficient
    return result


def _pau_pieces(x: Tensor, **c: Number) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return (far, y, P, P', Q, Q') with y = x for |x| <= 1 and, so that nothing overflows, y = 1/x beyond.

    Beyond: φ = x · P/Q with P = a5 + a4 y + ... + a0 y⁵ and Q = y⁴ + |b4 + b3 y + b2 y² + b1 y³|.
    """
    far = minus_magnitude(x) < -1
    y = torch.where(far, 1 / torch.where(far, x, torch.ones_like(x)), x)
    a = [torch.where(far, full(x, c[f"a{5 - k}"]), full(x, c[f"a{k}"])) for k in range(6)]
    zero = torch.zeros_like(x)
    b = [torch.where(far, full(x, c[f"b{4 - k}"]), full(x, c[f"b{k}"]) if k else zero) for k in range(4)]
    b.append(torch.where(far, zero, full(x, c["b4"])))
    p, p_slope = _horner(y, *a), _horner(y, *(k * a[k] for k in range(1, 6)))
    inner, inner_slope = _horner(y, *b), _horner(y, *(k * b[k] for k in range(1, 5)))
    turned = inner < 0
    fourth = y * y * y * y
    q = torch.where(turned, -inner, inner) + torch.where(far, fourth, torch.ones_like(x))
    q_slope = torch.where(turned, -inner_slope, inner_slope) + torch.where(far, 4 * y * y * y, zero)
    return far, y, p, p_slope, q, q_slope


def _pau_value(x: Tensor, **coefficients: Number) -> Tensor:
    far, _, p, _, q, _ = _pau_pieces(x, **coefficients)
    return torch.where(far, x, torch.ones_like(x)) * (p / q)


def _pau_slope(x: Tensor, **coefficients: Number) -> Tensor:
    far, y, p, p_slope, q, q_slope = _pau_pieces(x, **coefficients)
    inner = (p_slope * q - p * q_slope) / (q * q)
    return torch.where(far, p / q - y * inner, inner)


PAU = Activation(
    name="pau",
    formula="(a0 + a1*x + a2*x**2 + a3*x**3 + a4*x**4 + a5*x**5)/(1 + Abs(b1*x + b2*x**2 + b3*x**3 + b4*x**4))",
    aliases=("pade", "pade_activation_unit", "rational"),
    family="trained",
    source=sources.MOLINA_PAU,
    remarks=(
        "The safe form of the paper, with |...| around the sum, so the denominator is at least 1; degrees 5 and 4.",
        "Starts as a fit of leaky ReLU (0.01) on [-3, 3], table 6 of the paper; outside it is another line "
        "(slope 0.72).",
        "The absolute value leaves a kink at 0 and one more where the sum changes sign (-0.273 at the start).",
    ),
    parameters=tuple(Parameter(name, start, learned=True) for name, start in _PAU_START.items()),
    kinks=(Kink(0.0, "right"), Kink(-0.2731381392612779, "left")),
    traits=Traits(
        limits=(-INFINITY, INFINITY),
        slope_limits=(_PAU_START["a5"] / _PAU_START["b4"], _PAU_START["a5"] / _PAU_START["b4"]),
        bounds=(-INFINITY, INFINITY),
        turning=(-2.1715551256581866, -1.5729144812601457, -0.5762784322479253, -0.21518361168583072),
    ),
    value=_pau_value,
    slope=_pau_slope,
    trusted=True,
)


def _acon_c_value(x: Tensor, p1: Number, p2: Number, beta: Number) -> Tensor:
    gate = logistic((beta * (p1 - p2)) * x)
    return times(x, (p1 - p2) * gate + p2)


def _acon_c_slope(x: Tensor, p1: Number, p2: Number, beta: Number) -> Tensor:
    z = (beta * (p1 - p2)) * x
    n = decay(z)
    r = 1 / (1 + n)
    gate = torch.where(z < 0, n * r, r)
    return (p1 - p2) * (gate + finite(z) * (n * r * r)) + p2


ACON_C = Activation(
    name="acon_c",
    formula="(p1 - p2)*x/(1 + exp(-beta*(p1 - p2)*x)) + p2*x",
    aliases=("acon", "aconc"),
    family="trained",
    source=sources.MA_ACON,
    remarks=(
        "A smooth max(p1 x, p2 x). Starts as Swish (ACON-A: p1 = 1, p2 = 0, beta = 1); the authors' code draws "
        "p1 and p2 "
        "from N(0, 1), for which no gain can be computed beforehand.",
        "The slope stays between 1.0998 p2 - 0.0998 p1 and 1.0998 p1 - 0.0998 p2.",
    ),
    parameters=(
        Parameter("p1", 1.0, learned=True, meaning="slope far to the right"),
        Parameter("p2", 0.0, learned=True, meaning="slope far to the left"),
        Parameter("beta", 1.0, learned=True, meaning="sharpness of the switch; 0 gives a line"),
    ),
    traits=Traits(
        limits=(0.0, INFINITY),
        slope_limits=(0.0, 1.0),
        bounds=(-0.2784645427610738, INFINITY),
        turning=(-1.2784645427610738,),
    ),
    value=_acon_c_value,
    slope=_acon_c_slope,
    trusted=True,
)


def _smu_value(x: Tensor, alpha: Number, mu: Number) -> Tensor:
    # ((1 + α) + (1 - α) erf(t))/2 = α + (1 - α) erfc(-t)/2, which keeps the left tail
    half = 0.5 * torch.erfc(-(mu * (1 - alpha)) * x)
    return times(x, alpha + (1 - alpha) * half)


def _smu_slope(x: Tensor, alpha: Number, mu: Number) -> Tensor:
    t = bounded((mu * (1 - alpha)) * x, 100.0)
    half = 0.5 * torch.erfc(-t)
    bump = t * torch.exp(-t * t) * (1 / math.sqrt(math.pi))
    return alpha + (1 - alpha) * (half + bump)


SMU = Activation(
    name="smu",
    formula="x*(alpha + (1 - alpha)*erfc(-mu*(1 - alpha)*x)/2)",
    aliases=("smooth_maximum_unit",),
    family="trained",
    source=sources.BISWAS_SMU,
    remarks=(
        "A smooth max(x, alpha·x), in the paper written ((1 + α)x + (1 - α) x erf(μ(1 - α)x))/2. alpha = 0 and "
        "mu = 1/√2 give GELU.",
        "mu starts at 1,000,000 as in the paper, so it starts as leaky ReLU (0.25) with a bend of width 1e-6.",
    ),
    parameters=(
        Parameter("alpha", 0.25, high=1.0, meaning="slope far to the left"),
        Parameter("mu", 1e6, learned=True, meaning="sharpness of the bend"),
    ),
    traits=Traits(limits=(-INFINITY, INFINITY), slope_limits=(0.25, 1.0), bounds=(-INFINITY, INFINITY), turning=()),
    value=_smu_value,
    slope=_smu_slope,
    trusted=True,
)

ACTIVATIONS = (SRELU, APL, PAU, ACON_C, SMU)
