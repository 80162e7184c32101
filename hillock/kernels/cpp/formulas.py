"""The functions that tables and polynomials are fitted to, as mpmath computes them."""

from __future__ import annotations

import mpmath
from mpmath import mpf


def mills(a: mpf) -> mpf:
    """erfcx(a/√2)/2: the upper tail of the normal distribution is exp(-a²/2) times this."""
    return mpmath.exp(a * a / 2) * mpmath.erfc(a / mpmath.sqrt(2)) / 2


def sigmoid(x: mpf) -> mpf:
    return 1 / (1 + mpmath.exp(-x))


def silu_slope(x: mpf) -> mpf:
    s = sigmoid(x)
    return s + x * s * (1 - s)


def gelu_slope(x: mpf) -> mpf:
    return mpmath.ncdf(x) + x * mpmath.npdf(x)


def gelu_tanh_slope(x: mpf) -> mpf:
    k = mpmath.sqrt(2 / mpmath.pi)
    u = k * (x + mpf("0.044715") * x**3)
    s = sigmoid(2 * u)
    return s + x * 2 * k * (1 + 3 * mpf("0.044715") * x * x) * s * (1 - s)


def mish_slope(x: mpf) -> mpf:
    t = mpmath.tanh(mpmath.log1p(mpmath.exp(x)))
    return t + x * (1 - t * t) * sigmoid(x)


def elish_slope(x: mpf) -> mpf:
    """The derivative of (e^x - 1) σ(x), which is ELiSH below 0."""
    n = mpmath.exp(x)
    return n * (n * n + 2 * n - 1) / (1 + n) ** 2


def normal_tail(a: mpf) -> mpf:
    return mpmath.erfc(a / mpmath.sqrt(2)) / 2


def gelu_tanh_gate(x: mpf) -> mpf:
    return sigmoid(2 * mpmath.sqrt(2 / mpmath.pi) * (x + mpf("0.044715") * x**3))


def mish_gate(x: mpf) -> mpf:
    w = mpmath.exp(x)
    return w * (w + 2) / (w * (w + 2) + 2)
