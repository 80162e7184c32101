"""The numerically careful expressions that many declarations share.

Three rules that every declaration keeps:

* only exp of numbers <= 0 is taken, so that nothing overflows; 1 - tanh² and s(1 - s), which cancel, are never used;
* branches are chosen by `torch.where`, never by abs, maximum or clamp, whose derivatives split ties: so autograd's
  derivative of a value, and of a slope, is one-sided and right wherever the function is smooth;
* a NaN takes the branch that computes with it, so it comes out as NaN; an unchosen branch stays finite, so that its
  zero gradient stays zero.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = [
    "at_most_zero",
    "bounded",
    "capped_exp",
    "choose",
    "decay",
    "finite",
    "finite_below",
    "full",
    "logistic",
    "logistic_slope",
    "minus_magnitude",
    "sech_squared",
    "softplus",
    "steps",
    "times",
]


def minus_magnitude(x: Tensor) -> Tensor:
    """Return -|x|, with the derivative from the right at 0."""
    return torch.where(x < 0, x, -x)


def decay(x: Tensor) -> Tensor:
    """Return n = exp(-|x|), in [0, 1]."""
    return torch.exp(minus_magnitude(x))


def capped_exp(x: Tensor) -> Tensor:
    """Return e^x, but stop a little below the largest number of the dtype, so that e^x · 0 is 0 and not NaN."""
    return torch.exp(torch.clamp(x, max=0.97 * math.log(torch.finfo(x.dtype).max)))


def at_most_zero(x: Tensor) -> Tensor:
    """Return min(x, 0); NaN stays."""
    return torch.where(x > 0, torch.zeros_like(x), x)


def finite(x: Tensor) -> Tensor:
    """Return x with ±∞ replaced by the largest finite number, so that 0 · x is 0."""
    largest = torch.finfo(x.dtype).max
    return torch.clamp(x, -largest, largest)


def finite_below(x: Tensor) -> Tensor:
    """Return x with -∞ replaced by the lowest finite number; +∞ stays."""
    return torch.clamp(x, min=-torch.finfo(x.dtype).max)


def bounded(x: Tensor, limit: float = 1000.0) -> Tensor:
    """Return x kept within ±limit, for factors of something that has underflowed to 0 long before."""
    return torch.clamp(x, -limit, limit)


def times(x: Tensor, factor: Tensor) -> Tensor:
    """Return x · factor, where ±∞ · 0 is 0: the limit, for a factor that goes to 0 faster than x grows."""
    return torch.where((factor == 0) & torch.isinf(x), torch.zeros_like(x), x) * factor


def full(x: Tensor, number: float | Tensor) -> Tensor:
    """Return `number` as a tensor of x's dtype (0-d, broadcasts); a tensor is returned as it is."""
    return number if isinstance(number, Tensor) else torch.full((), number, dtype=x.dtype, device=x.device)


def choose(condition: Tensor, x: Tensor, yes: float | Tensor, no: float | Tensor) -> Tensor:
    """Return `yes` where the condition holds and `no` elsewhere, in x's dtype, but NaN where x is NaN."""
    return torch.where(torch.isnan(x), x, torch.where(condition, full(x, yes), full(x, no)))


def steps(x: Tensor, *pieces: tuple[float | Tensor, float | Tensor], last: float | Tensor) -> Tensor:
    """Return a staircase: of the pieces (edge, level), ascending, the level of the first with x <= edge, else "
    "`last`."""
    result = full(x, last)
    for edge, level in reversed(pieces):
        result = torch.where(x <= edge, full(x, level), result)
    return torch.where(torch.isnan(x), x, result)


def logistic(x: Tensor) -> Tensor:
    """Return σ(x) = 1/(1 + e^-x) with a small relative error on both sides."""
    n = decay(x)
    return torch.where(x < 0, n, torch.ones_like(x)) / (1 + n)


def logistic_slope(x: Tensor) -> Tensor:
    """Return σ'(x) = n/(1 + n)² from the input, so that it does not cancel where σ is near 1."""
    n = decay(x)
    r = 1 / (1 + n)
    return n * r * r


def softplus(x: Tensor) -> Tensor:
    """Return log(1 + e^x) = max(x, 0) + log1p(exp(-|x|))."""
    return torch.where(x < 0, torch.zeros_like(x), x) + torch.log1p(decay(x))


def sech_squared(x: Tensor) -> Tensor:
    """Return tanh'(x) = 4m/(1 + m)² with m = exp(-2|x|)."""
    m = decay(2 * x)
    r = 2 / (1 + m)
    return m * r * r


INVERSE_SQRT_TWO_PI = 1 / math.sqrt(2 * math.pi)
