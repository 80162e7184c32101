"""Max pooling of channels-last maps on a GPU, as Triton kernels. Import only where Triton is.

As in the native library (`cpp/max_pool.cpp`): the first of equal values counts and a NaN wins, as in torch; a result
keeps one byte, where in its window the value stood; an input pixel gathers the gradients of the windows that it won, in
float32 and in one order, without atomics.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from hillock.kernels.triton_functions import narrowed
from hillock.kernels.triton_launch import launch

__all__ = ["backward", "forward"]

BLOCK = 1024
"""Elements a program. Not tuned: no GPU was at hand when this was written."""


@triton.jit  # type: ignore[untyped-decorator]
def _split(count, height, width, channels, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """The elements of this program in a map [N, height, width, channels]: flat place, which exist, and coordinates."""
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    pixel = place // channels
    line = pixel // width
    return place, place < count, line // height, line % height, pixel % width, place % channels


@triton.jit  # type: ignore[untyped-decorator]
def forward_kernel(  # type: ignore[no-untyped-def]
    x_pointer, y_pointer, where_pointer, count, height, width, channels, rows, columns,
    SIDE: tl.constexpr, STRIDE: tl.constexpr, PADDING: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The largest value of each window and its place there."""
    place, there, picture, row, column, channel = _split(count, rows, columns, channels, BLOCK)
    largest = tl.full([BLOCK], float("-inf"), tl.float32)
    best = tl.full([BLOCK], -1, tl.int32)
    for i in tl.static_range(SIDE):
        for j in tl.static_range(SIDE):
            down, across = row * STRIDE - PADDING + i, column * STRIDE - PADDING + j
            inside = there & (down >= 0) & (down < height) & (across >= 0) & (across < width)
            at = ((picture * height + down) * width + across) * channels + channel
            value = tl.load(x_pointer + at, mask=inside, other=0.0).to(tl.float32)
            wins = inside & ((best < 0) | (value > largest) | (value != value))
            largest = tl.where(wins, value, largest)
            best = tl.where(wins, i * SIDE + j, best)
    tl.store(y_pointer + place, narrowed(largest, y_pointer.dtype.element_ty), mask=there)
    tl.store(where_pointer + place, best.to(tl.uint8), mask=there)


@triton.jit  # type: ignore[untyped-decorator]
def backward_kernel(  # type: ignore[no-untyped-def]
    dy_pointer, where_pointer, dx_pointer, count, height, width, channels, rows, columns,
    SIDE: tl.constexpr, STRIDE: tl.constexpr, PADDING: tl.constexpr, WINDOWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The sum of the gradients of those windows whose largest value a pixel was; at most WINDOWS an axis hold it."""
    place, there, picture, row, column, channel = _split(count, height, width, channels, BLOCK)
    total = tl.zeros([BLOCK], tl.float32)
    for i in tl.static_range(WINDOWS):
        for j in tl.static_range(WINDOWS):
            down = (row + PADDING) // STRIDE - (WINDOWS - 1 - i)
            across = (column + PADDING) // STRIDE - (WINDOWS - 1 - j)
            from_top, from_left = row + PADDING - down * STRIDE, column + PADDING - across * STRIDE
            inside = there & (down >= 0) & (down < rows) & (across >= 0) & (across < columns)
            inside = inside & (from_top < SIDE) & (from_left < SIDE)
            at = ((picture * rows + down) * columns + across) * channels + channel
            won = tl.load(where_pointer + at, mask=inside, other=0).to(tl.int32) == from_top * SIDE + from_left
            gradient = tl.load(dy_pointer + at, mask=inside, other=0.0).to(tl.float32)
            total += tl.where(inside & won, gradient, 0.0)
    tl.store(dx_pointer + place, narrowed(total, dx_pointer.dtype.element_ty), mask=there)


def forward(x: Tensor, y: Tensor, where: Tensor, *sizes: int) -> None:
    """Write the largest values and their places. sizes: N, H, W, C, side, stride, padding, rows, columns."""
    _, height, width, channels, side, stride, padding, rows, columns = sizes
    launch(
        forward_kernel, (triton.cdiv(y.numel(), BLOCK),), x, y, where, y.numel(), height, width, channels, rows,
        columns, SIDE=side, STRIDE=stride, PADDING=padding, BLOCK=BLOCK,
    )  # fmt: skip


def backward(dy: Tensor, where: Tensor, dx: Tensor, *sizes: int) -> None:
    """Write the gradient of the input. sizes: as for `forward`."""
    _, height, width, channels, side, stride, padding, rows, columns = sizes
    launch(
        backward_kernel, (triton.cdiv(dx.numel(), BLOCK),), dy, where, dx, dx.numel(), height, width, channels, rows,
        columns, SIDE=side, STRIDE=stride, PADDING=padding, WINDOWS=triton.cdiv(side, stride), BLOCK=BLOCK,
    )  # fmt: skip
