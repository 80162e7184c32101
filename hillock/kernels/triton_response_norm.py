"""Response normalisation across channels on a GPU, as Triton kernels. Import only where Triton is.

The formulas are those of `cpp/response_norm.cpp`. A program takes a block of elements and reads their windows again
instead of keeping them: the neighbours' lines are in the nearest cache. Float32 inside.
"""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from hillock.kernels.triton_functions import narrowed
from hillock.kernels.triton_launch import launch

__all__ = ["backward", "forward"]

BLOCK = 1024
"""Elements a program. Not tuned: no GPU was at hand when this was written."""


@triton.jit  # type: ignore[untyped-decorator]
def _elements(count, channels, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """The flat places of this program's elements, which of them exist, and their channels."""
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    return place, place < count, place % channels


@triton.jit
def _neighbour(channel, offset, tower, there):  # type: ignore[no-untyped-def]
    """Which elements have a neighbour `offset` channels on, in the same tower."""
    within = channel % tower + offset
    return there & (within >= 0) & (within < tower)


@triton.jit  # type: ignore[untyped-decorator]
def _base(x_pointer, place, channel, there, tower, alpha, k, HALF: tl.constexpr, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """k + alpha · Σ x² over each element's window."""
    total = tl.zeros([BLOCK], tl.float32)
    for step in tl.static_range(2 * HALF + 1):
        offset = step - HALF
        near = _neighbour(channel, offset, tower, there)
        x = tl.load(x_pointer + place + offset, mask=near, other=0.0).to(tl.float32)
        total += x * x
    return k + alpha * total


@triton.jit
def _power(base):  # type: ignore[no-untyped-def]
    """base^(-3/4); an infinite sum leaves zero, not NaN."""
    root = tl.sqrt(base)
    return 1.0 / (root * tl.sqrt(root))


@triton.jit  # type: ignore[untyped-decorator]
def forward_kernel(  # type: ignore[no-untyped-def]
    x_pointer, y_pointer, count, channels, tower, alpha, k, HALF: tl.constexpr, BLOCK: tl.constexpr
):
    """y = x · base^(-3/4)."""
    place, there, channel = _elements(count, channels, BLOCK)
    x = tl.load(x_pointer + place, mask=there, other=0.0).to(tl.float32)
    y = x * _power(_base(x_pointer, place, channel, there, tower, alpha, k, HALF, BLOCK))
    tl.store(y_pointer + place, narrowed(y, y_pointer.dtype.element_ty), mask=there)


@triton.jit  # type: ignore[untyped-decorator]
def backward_kernel(  # type: ignore[no-untyped-def]
    x_pointer, dy_pointer, dx_pointer, count, channels, tower, alpha, k, HALF: tl.constexpr, BLOCK: tl.constexpr
):
    """dx = dy · base^(-3/4) - 3/2 alpha x · Σ over the window of dy' x' base'^(-7/4)."""
    place, there, channel = _elements(count, channels, BLOCK)
    x = tl.load(x_pointer + place, mask=there, other=0.0).to(tl.float32)
    dy = tl.load(dy_pointer + place, mask=there, other=0.0).to(tl.float32)
    through = tl.zeros([BLOCK], tl.float32)
    for step in tl.static_range(2 * HALF + 1):
        offset = step - HALF
        near = _neighbour(channel, offset, tower, there)
        base = _base(x_pointer, place + offset, channel + offset, near, tower, alpha, k, HALF, BLOCK)
        value = tl.load(x_pointer + place + offset, mask=near, other=0.0).to(tl.float32)
        gradient = tl.load(dy_pointer + place + offset, mask=near, other=0.0).to(tl.float32)
        through += tl.where(near, gradient * value * _power(base) / base, 0.0)
    direct = dy * _power(_base(x_pointer, place, channel, there, tower, alpha, k, HALF, BLOCK))
    dx = direct - 1.5 * alpha * x * through
    tl.store(dx_pointer + place, narrowed(dx, dx_pointer.dtype.element_ty), mask=there)


def forward(x: Tensor, y: Tensor, pixels: int, channels: int, towers: int, half: int, alpha: float, k: float) -> None:
    """Write the normalised map. half: neighbours that count on each side."""
    _run(forward_kernel, x, y, pixels * channels, channels, channels // towers, alpha, k, half)


def backward(
    x: Tensor, dy: Tensor, dx: Tensor, pixels: int, channels: int, towers: int, half: int, alpha: float, k: float
) -> None:
    """Write the gradient of x."""
    _run(backward_kernel, x, dy, dx, pixels * channels, channels, channels // towers, alpha, k, half)


def _run(kernel: Any, *maps_and_sizes: Any) -> None:
    *maps, count, channels, tower, alpha, k, half = maps_and_sizes
    launch(kernel, (triton.cdiv(count, BLOCK),), *maps, count, channels, tower, alpha, k, HALF=half, BLOCK=BLOCK)
