"""The reference path: a declaration's own torch expressions, evaluated in float64 and rounded once.

This is what every other path is compared with, and what runs where no compiler is at hand. It keeps the accuracy
contract by brute force: float32 and 16-bit inputs are exact in float64, the expression is evaluated there, and the
result is rounded to the input's dtype a single time. The work goes through a buffer of `CHUNK` elements, so the
temporaries stay in the second-level cache and memory does not double.

Nothing here is differentiable in the chunked functions (`forward`, `backward`, `slope`); `composite` and
`composite_slope` are the same expressions as ordinary torch operations, for transforms, tracing and higher derivatives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from hillock.activations import Activation

__all__ = [
    "CHUNK",
    "backward",
    "composite",
    "composite_slope",
    "composite_slope_beside_zero",
    "forward",
    "round_once",
    "slope",
]

CHUNK = 1 << 15
"""Elements per pass: a float64 buffer of 256 KiB, which with two temporaries fits a 1-2 MiB second-level cache."""

_LANES = 64
"""Buffers are filled up to a multiple of this, so that no element ever meets torch's scalar remainder loop (whose
functions differ from the vector ones in the last bits): results do not depend on length, offset or layout."""

Constants = Mapping[str, float | Tensor]
Expression = Callable[..., Tensor]


def composite(activation: Activation, x: Tensor, constants: Constants) -> Tensor:
    """Return φ(x) as ordinary torch operations in float64, cast to the dtype of `x`: any tensor, any transform."""
    return _in_double(activation.value, x, constants)


def composite_slope(activation: Activation, x: Tensor, constants: Constants) -> Tensor:
    """Return φ'(x) as ordinary torch operations in float64, cast to the dtype of `x`: any tensor, any transform."""
    return _in_double(activation.slope, x, constants)


def composite_slope_beside_zero(activation: Activation, x: Tensor, constants: Constants) -> Tensor:
    """Return φ'(x), the same number as `composite_slope` at every x where φ' is continuous, safe to differentiate at 0.

    The slopes are written with |x|, whose derivative torch takes as 0 at 0. One step to the right of 0 the chain rule
    gives the true second derivative (the right-hand one at a kink). The step is added, so its derivative is 1.
    """
    step = torch.finfo(torch.float64).tiny

    def beside(x: Tensor, **constants: Any) -> Tensor:
        return activation.slope(x + (x.detach() == 0).to(x.dtype) * step, **constants)

    return _in_double(beside, x, constants)


def forward(activation: Activation, x: Tensor, constants: Constants) -> Tensor:
    """Return φ(x) in the layout and dtype of `x`, correctly rounded up to the error of the float64 expression."""
    return _chunked(activation.value, (x,), constants)


def slope(activation: Activation, x: Tensor, constants: Constants) -> Tensor:
    """Return φ'(x) in the layout and dtype of `x`, correctly rounded up to the error of the float64 expression."""
    return _chunked(activation.slope, (x,), constants)


def backward(activation: Activation, gradient: Tensor, x: Tensor, constants: Constants) -> Tensor:
    """Return gradient · φ'(x), rounded once, in the layout and dtype of `x`."""

    def product(x: Tensor, gradient: Tensor, **constants: Any) -> Tensor:
        return activation.slope(x, **constants) * gradient

    return _chunked(product, (x, gradient), constants)


def round_once(exact: Tensor, dtype: torch.dtype) -> Tensor:
    """Return float64 values rounded to the nearest `dtype`, ties to even, in one rounding.

    torch casts float64 to a 16-bit format by way of float32, which rounds twice and misses the nearest value for some
    inputs. Rounding to *odd* first (of the two float32 neighbours of an inexact value take the one whose last bit is 1)
    keeps in that bit the knowledge that something was cut off, so the second rounding decides as if it were the first.

    >>> value = torch.tensor(1 + 2**-8 + 2**-30, dtype=torch.float64)  # just above a tie between two bfloat16
    >>> value.to(torch.bfloat16).item(), round_once(value, torch.bfloat16).item()
    (1.0, 1.0078125)
    """
    if dtype in (torch.float32, torch.float64):
        return exact.to(dtype)
    nearest = exact.to(torch.float32)
    back = nearest.to(torch.float64)
    is_even = nearest.view(torch.int32) & 1 == 0
    towards = torch.where(exact > back, torch.inf, -torch.inf).to(torch.float32)
    odd = torch.where(is_even & (back != exact) & ~exact.isnan(), torch.nextafter(nearest, towards), nearest)
    return odd.to(dtype)


def _in_double(expression: Expression, x: Tensor, constants: Constants) -> Tensor:
    if x.dtype is torch.float64:
        return expression(x, **constants)
    wide = {name: value.double() if isinstance(value, Tensor) else value for name, value in constants.items()}
    return expression(x.double(), **wide).to(x.dtype)


def _chunked(expression: Expression, inputs: tuple[Tensor, ...], constants: Constants) -> Tensor:
    """Evaluate `expression` over float64 copies of the inputs (all of one shape), `CHUNK` elements at a time."""
    first = inputs[0]
    with torch.no_grad():
        result = torch.empty_like(first)
        if result.numel() == 0 or result.device.type == "meta":
            return result
        wide = {
            name: value.detach().double() if isinstance(value, Tensor) else value for name, value in constants.items()
        }
        if any(isinstance(value, Tensor) and value.numel() > 1 for value in wide.values()):
            # Broadcast parameters (one a channel) fix the shape, so the whole tensor goes through at once.
            exact = expression(*(tensor.detach().double() for tensor in inputs), **wide)
            return result.copy_(round_once(exact, first.dtype))
        flat = [_flat(tensor.detach(), result) for tensor in inputs]
        target = result.as_strided((result.numel(),), (1,))
        size = min(CHUNK, -(-result.numel() // _LANES) * _LANES)
        buffers = [torch.zeros(size, dtype=torch.float64, device=first.device) for _ in inputs]
        for start in range(0, result.numel(), CHUNK):
            stop = min(start + CHUNK, result.numel())
            for buffer, tensor in zip(buffers, flat, strict=True):
                buffer[: stop - start].copy_(tensor[start:stop])
            exact = expression(*buffers, **wide)
            target[start:stop] = round_once(exact[: stop - start], first.dtype)
        return result


def _flat(tensor: Tensor, like: Tensor) -> Tensor:
    """Return the elements of `tensor` as one dimension in the memory order of the dense tensor `like`."""
    if tensor.stride() != like.stride():
        tensor = torch.empty_like(like, dtype=tensor.dtype).copy_(tensor)
    return tensor.as_strided((tensor.numel(),), (1,), tensor.storage_offset())
