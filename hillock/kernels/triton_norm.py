"""The passes over memory of a fused normalisation on a GPU, as Triton kernels. Import only where Triton is.

They are the native library's (`cpp/norm_activation.cpp`) over the same view: a channels-last map is a matrix
[rows, channels]. A program takes some tiles of one strip of columns; sums are float32 within a program, double across
programs and added in the programs' order, so that a result does not depend on the schedule. Nothing but x and the
residual is kept between forward and backward.

`TRITON_INTERPRET=1` (set before the first import of triton) runs the same kernels on CPU tensors, slowly.
"""

from __future__ import annotations

from typing import NamedTuple

import triton
import triton.language as tl
from torch import Tensor

from hillock.kernels.triton_functions import bfloat16_bits, narrowed
from hillock.kernels.triton_launch import launch

__all__ = ["backward", "forward", "settle", "statistics"]

TILE = 2048
"""Elements of a tile. Not tuned, like the two below: no GPU was at hand when this was written."""
WIDTH = 64
"""Columns of a tile at most: a line of 128 bytes in bfloat16."""
TILES = 16
"""Tiles that a program adds up: 32 k elements in float32, as in the native library."""

# Parts of kernels ---------------------------------------------------------------------------------------------------


@triton.jit  # type: ignore[untyped-decorator]
def _value(p, table, KIND: tl.constexpr):  # type: ignore[no-untyped-def]
    """φ(p): p itself (0), max(0, p) (1), or looked up by p rounded to bfloat16 (2)."""
    if KIND == 1:
        p = tl.where(p <= 0.0, 0.0, p)  # a NaN passes
    if KIND == 2:
        p = tl.load(table + bfloat16_bits(p))
    return p


@triton.jit  # type: ignore[untyped-decorator]
def _slope_times(p, g, table, KIND: tl.constexpr):  # type: ignore[no-untyped-def]
    """g · φ'(p)."""
    if KIND == 1:
        g = tl.where(p <= 0.0, 0.0, g)
    if KIND == 2:
        g = g * tl.load(table + bfloat16_bits(p))
    return g


@triton.jit  # type: ignore[untyped-decorator]
def _columns(channels, WIDTH: tl.constexpr):  # type: ignore[no-untyped-def]
    """The channels of this program's strip [WIDTH], and which of them exist."""
    channel = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    return channel, channel < channels


@triton.jit  # type: ignore[untyped-decorator]
def _places(tile, rows, channels, HEIGHT: tl.constexpr, WIDTH: tl.constexpr):  # type: ignore[no-untyped-def]
    """The places of the elements of a tile of this program's strip [HEIGHT, WIDTH], and which of them exist."""
    row = tile.to(tl.int64) * HEIGHT + tl.arange(0, HEIGHT)
    channel, known = _columns(channels, WIDTH)
    return row[:, None] * channels + channel[None, :], (row < rows)[:, None] & known[None, :]


@triton.jit  # type: ignore[untyped-decorator]
def _put_sums(partials, first, second, channels, WIDTH: tl.constexpr):  # type: ignore[no-untyped-def]
    """Write the column sums of two tiles to partials [programs, 2, channels]."""
    channel, known = _columns(channels, WIDTH)
    at = partials + 2 * tl.program_id(0) * channels + channel
    tl.store(at, tl.sum(first, 0), mask=known)
    tl.store(at + channels, tl.sum(second, 0), mask=known)


@triton.jit  # type: ignore[untyped-decorator]
def _added_up(partials, programs, channels, WIDTH: tl.constexpr):  # type: ignore[no-untyped-def]
    """The two sums of all programs, in double."""
    channel, known = _columns(channels, WIDTH)
    first, second = tl.zeros([WIDTH], tl.float64), tl.zeros([WIDTH], tl.float64)
    for program in range(programs):
        at = partials + 2 * program * channels + channel
        first += tl.load(at, mask=known, other=0.0).to(tl.float64)
        second += tl.load(at + channels, mask=known, other=0.0).to(tl.float64)
    return first, second


# Kernels ------------------------------------------------------------------------------------------------------------


@triton.jit  # type: ignore[untyped-decorator]
def statistics_sums(  # type: ignore[no-untyped-def]
    x_pointer, partials, rows, channels, TILES: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr
):
    """Partial sums of x - k and its square; the first pixel as k, so that a large mean does not cancel the variance."""
    channel, known = _columns(channels, WIDTH)
    k = tl.load(x_pointer + channel, mask=known, other=0.0).to(tl.float32)[None, :]
    sums, squares = tl.zeros([HEIGHT, WIDTH], tl.float32), tl.zeros([HEIGHT, WIDTH], tl.float32)
    for step in range(TILES):
        place, there = _places(tl.program_id(0) * TILES + step, rows, channels, HEIGHT, WIDTH)
        x = tl.load(x_pointer + place, mask=there, other=0.0).to(tl.float32)
        difference = tl.where(there, x - k, 0.0)
        sums += difference
        squares += difference * difference
    _put_sums(partials, sums, squares, channels, WIDTH)


@triton.jit  # type: ignore[untyped-decorator]
def statistics_end(  # type: ignore[no-untyped-def]
    x_pointer, partials, mean_pointer, variance_pointer, programs, rows, channels,
    gamma_pointer, beta_pointer, epsilon, running_mean_pointer, running_var_pointer, momentum, settled,
    WIDTH: tl.constexpr,
):  # fmt: skip
    """Mean and biased variance of each channel; with `settled` [3, channels] also 1/std, scale and shift.

    The running statistics, where there are any, move by `momentum`.
    """
    channel, known = _columns(channels, WIDTH)
    first, second = _added_up(partials, programs, channels, WIDTH)
    k = tl.load(x_pointer + channel, mask=known, other=0.0).to(tl.float64)
    mean, variance = first / rows, second / rows - (first / rows) * (first / rows)
    mean, variance = k + mean, tl.where(variance < 0.0, 0.0, variance)
    tl.store(mean_pointer + channel, mean.to(tl.float32), mask=known)
    tl.store(variance_pointer + channel, variance.to(tl.float32), mask=known)
    if settled is not None:
        inverse_std = 1.0 / tl.sqrt(variance + epsilon)
        scale = tl.load(gamma_pointer + channel, mask=known, other=0.0) * inverse_std
        shift = tl.load(beta_pointer + channel, mask=known, other=0.0) - mean * scale
        tl.store(settled + channel, inverse_std.to(tl.float32), mask=known)
        tl.store(settled + channels + channel, scale.to(tl.float32), mask=known)
        tl.store(settled + 2 * channels + channel, shift.to(tl.float32), mask=known)
    if running_mean_pointer is not None:
        before = tl.load(running_mean_pointer + channel, mask=known, other=0.0)
        tl.store(running_mean_pointer + channel, (before + momentum * (mean - before)).to(tl.float32), mask=known)
    if running_var_pointer is not None:
        before = tl.load(running_var_pointer + channel, mask=known, other=0.0)
        unbiased = variance * rows / (rows - 1)
        tl.store(running_var_pointer + channel, (before + momentum * (unbiased - before)).to(tl.float32), mask=known)


@triton.jit  # type: ignore[untyped-decorator]
def forward_kernel(  # type: ignore[no-untyped-def]
    x_pointer, residual_pointer, y_pointer, scale_pointer, shift_pointer, table, rows, channels,
    KIND: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """y = φ(scale·x + shift + residual) for one tile."""
    channel, known = _columns(channels, WIDTH)
    scale = tl.load(scale_pointer + channel, mask=known, other=0.0)[None, :]
    shift = tl.load(shift_pointer + channel, mask=known, other=0.0)[None, :]
    place, there = _places(tl.program_id(0), rows, channels, HEIGHT, WIDTH)
    p = tl.load(x_pointer + place, mask=there, other=0.0).to(tl.float32) * scale + shift
    if residual_pointer is not None:
        p += tl.load(residual_pointer + place, mask=there, other=0.0).to(tl.float32)
    tl.store(y_pointer + place, narrowed(_value(p, table, KIND), y_pointer.dtype.element_ty), mask=there)


@triton.jit  # type: ignore[untyped-decorator]
def backward_sums(  # type: ignore[no-untyped-def]
    dy_pointer, more_pointer, x_pointer, residual_pointer, d_pointer, scale_pointer, shift_pointer, mean_pointer, table,
    partials, rows, channels, KIND: tl.constexpr, TILES: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """d = (dy + more)·φ'(p), written where wanted; partial sums of d and of d·(x - mean)."""
    channel, known = _columns(channels, WIDTH)
    scale = tl.load(scale_pointer + channel, mask=known, other=0.0)[None, :]
    shift = tl.load(shift_pointer + channel, mask=known, other=0.0)[None, :]
    mean = tl.load(mean_pointer + channel, mask=known, other=0.0)[None, :]
    sums, products = tl.zeros([HEIGHT, WIDTH], tl.float32), tl.zeros([HEIGHT, WIDTH], tl.float32)
    for step in range(TILES):
        place, there = _places(tl.program_id(0) * TILES + step, rows, channels, HEIGHT, WIDTH)
        x = tl.load(x_pointer + place, mask=there, other=0.0).to(tl.float32)
        p = x * scale + shift
        if residual_pointer is not None:
            p += tl.load(residual_pointer + place, mask=there, other=0.0).to(tl.float32)
        g = tl.load(dy_pointer + place, mask=there, other=0.0).to(tl.float32)
        if more_pointer is not None:
            g += tl.load(more_pointer + place, mask=there, other=0.0).to(tl.float32)
        d = tl.where(there, _slope_times(p, g, table, KIND), 0.0)
        if d_pointer is not None:
            tl.store(d_pointer + place, narrowed(d, d_pointer.dtype.element_ty), mask=there)
        sums += d
        products += tl.where(there, d * (x - mean), 0.0)
    _put_sums(partials, sums, products, channels, WIDTH)


@triton.jit  # type: ignore[untyped-decorator]
def backward_end(  # type: ignore[no-untyped-def]
    partials, scale_pointer, mean_pointer, inverse_std_pointer, d_gamma, d_beta, terms, programs, rows, channels,
    BY_BATCH: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Gradients of γ and β; factor and offset of a channel in dx = scale·d + factor·x + offset, the rows of terms."""
    channel, known = _columns(channels, WIDTH)
    sum_d, product = _added_up(partials, programs, channels, WIDTH)
    inverse_std = tl.load(inverse_std_pointer + channel, mask=known, other=0.0).to(tl.float64)
    tl.store(d_beta + channel, sum_d.to(tl.float32), mask=known)
    tl.store(d_gamma + channel, (product * inverse_std).to(tl.float32), mask=known)
    factor, offset = tl.zeros([WIDTH], tl.float64), tl.zeros([WIDTH], tl.float64)
    if BY_BATCH:
        scale = tl.load(scale_pointer + channel, mask=known, other=0.0).to(tl.float64)
        mean = tl.load(mean_pointer + channel, mask=known, other=0.0).to(tl.float64)
        factor = -scale * product * inverse_std * inverse_std / rows
        offset = -scale * sum_d / rows - factor * mean
    tl.store(terms + channel, factor.to(tl.float32), mask=known)
    tl.store(terms + channels + channel, offset.to(tl.float32), mask=known)


@triton.jit  # type: ignore[untyped-decorator]
def backward_kernel(  # type: ignore[no-untyped-def]
    dy_pointer, x_pointer, dx_pointer, scale_pointer, shift_pointer, terms, table, rows, channels,
    KIND: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """dx = scale·dy·φ'(scale·x + shift) + factor·x + offset for one tile."""
    channel, known = _columns(channels, WIDTH)
    scale = tl.load(scale_pointer + channel, mask=known, other=0.0)[None, :]
    shift = tl.load(shift_pointer + channel, mask=known, other=0.0)[None, :]
    factor = tl.load(terms + channel, mask=known, other=0.0)[None, :]
    offset = tl.load(terms + channels + channel, mask=known, other=0.0)[None, :]
    place, there = _places(tl.program_id(0), rows, channels, HEIGHT, WIDTH)
    x = tl.load(x_pointer + place, mask=there, other=0.0).to(tl.float32)
    g = tl.load(dy_pointer + place, mask=there, other=0.0).to(tl.float32)
    d = _slope_times(x * scale + shift, g, table, KIND)
    tl.store(dx_pointer + place, narrowed(d * scale + (x * factor + offset), dx_pointer.dtype.element_ty), mask=there)


# Launches: the native library's calls, with tensors for addresses ---------------------------------------------------


class _Grid(NamedTuple):
    """How a matrix [rows, channels] is shared out: tiles [height, width], `strips` of columns side by side."""

    height: int
    width: int
    tiles: int
    strips: int

    @classmethod
    def over(cls, rows: int, channels: int) -> _Grid:
        width = min(WIDTH, triton.next_power_of_2(channels))
        height = TILE // width
        return cls(height, width, triton.cdiv(rows, height), triton.cdiv(channels, width))

    @property
    def programs(self) -> int:
        """How many programs add up a strip."""
        return int(triton.cdiv(self.tiles, TILES))


def statistics(x: Tensor, rows: int, channels: int, mean: Tensor, variance: Tensor) -> None:
    """Write mean and biased variance of each channel."""
    _write_statistics(x, rows, channels, mean, variance, None, None, 0.0, None, None, 0.0, None)


def settle(
    x: Tensor,
    rows: int,
    channels: int,
    gamma: Tensor,
    beta: Tensor,
    epsilon: float,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    momentum: float,
    out: Tensor,
) -> None:
    """Write mean, variance, 1/std, scale and shift to the rows of `out`; the running statistics move by `momentum`."""
    _write_statistics(
        x, rows, channels, out[0], out[1], gamma, beta, epsilon, running_mean, running_var, momentum, out[2:]
    )


def _write_statistics(
    x: Tensor, rows: int, channels: int, mean: Tensor, variance: Tensor, *settling: Tensor | float | None
) -> None:
    grid = _Grid.over(rows, channels)
    partials = mean.new_empty(grid.programs, 2, channels)
    launch(
        statistics_sums, (grid.programs, grid.strips), x, partials, rows, channels,
        TILES=TILES, HEIGHT=grid.height, WIDTH=grid.width,
    )  # fmt: skip
    launch(
        statistics_end, (1, grid.strips), x, partials, mean, variance, grid.programs, rows, channels, *settling,
        WIDTH=grid.width,
    )  # fmt: skip


def forward(
    x: Tensor,
    residual: Tensor | None,
    y: Tensor,
    rows: int,
    channels: int,
    scale: Tensor,
    shift: Tensor,
    kind: int,
    values: Tensor | None,
) -> None:
    """Write y = φ(scale·x + shift + residual); `values` is the table of kind 2."""
    grid = _Grid.over(rows, channels)
    launch(
        forward_kernel, (grid.tiles, grid.strips), x, residual, y, scale, shift, values, rows, channels,
        KIND=kind, HEIGHT=grid.height, WIDTH=grid.width,
    )  # fmt: skip


def backward(
    dy: Tensor,
    more: Tensor | None,
    x: Tensor,
    residual: Tensor | None,
    d_sum: Tensor | None,
    dx: Tensor,
    rows: int,
    channels: int,
    scale: Tensor,
    shift: Tensor,
    mean: Tensor,
    inverse_std: Tensor,
    by_batch: int,
    kind: int,
    slopes: Tensor | None,
    d_gamma: Tensor,
    d_beta: Tensor,
) -> None:
    """Write the gradients of x, γ, β and, where wanted, of the sum that φ was applied to; `slopes`: table of kind 2."""
    grid = _Grid.over(rows, channels)
    partials = mean.new_empty(grid.programs, 2, channels)
    terms = mean.new_empty(2, channels)
    launch(
        backward_sums, (grid.programs, grid.strips), dy, more, x, residual, d_sum, scale, shift, mean, slopes, partials,
        rows, channels, KIND=kind, TILES=TILES, HEIGHT=grid.height, WIDTH=grid.width,
    )  # fmt: skip
    launch(
        backward_end, (1, grid.strips), partials, scale, mean, inverse_std, d_gamma, d_beta, terms, grid.programs, rows,
        channels, BY_BATCH=bool(by_batch), WIDTH=grid.width,
    )  # fmt: skip
    if d_sum is not None:  # φ' is in there already
        dy, kind, slopes = d_sum, 0, None
    launch(
        backward_kernel, (grid.tiles, grid.strips), dy, x, dx, scale, shift, terms, slopes, rows, channels,
        KIND=kind, HEIGHT=grid.height, WIDTH=grid.width,
    )  # fmt: skip
