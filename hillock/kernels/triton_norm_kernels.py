"""The Triton kernels of a fused normalisation; `triton_norm` launches them. Import only where Triton is.

They are the native library's passes (`cpp/norm_activation.cpp`) over the same view: a channels-last map is a matrix
[rows, channels]. A program takes some tiles of one strip of columns; sums are float32 within a program, double across
programs and added in the programs' order, so that a result does not depend on the schedule.
"""

from __future__ import annotations

import triton
import triton.language as tl

from hillock.kernels.triton_functions import bfloat16_bits, narrowed

__all__ = [
    "backward_end",
    "backward_kernel",
    "backward_sums",
    "forward_kernel",
    "statistics_end",
    "statistics_sums",
]

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
    """The two sums of all programs, in double; sixteen programs are read at once, for latency's sake."""
    channel, known = _columns(channels, WIDTH)
    first, second = tl.zeros([16, WIDTH], tl.float64), tl.zeros([16, WIDTH], tl.float64)
    for start in range(0, programs, 16):
        program = start + tl.arange(0, 16)
        there = (program < programs)[:, None] & known[None, :]
        at = partials + 2 * program[:, None] * channels + channel[None, :]
        first += tl.load(at, mask=there, other=0.0).to(tl.float64)
        second += tl.load(at + channels, mask=there, other=0.0).to(tl.float64)
    return tl.sum(first, 0), tl.sum(second, 0)


# Kernels ------------------------------------------------------------------------------------------------------------


@triton.jit  # type: ignore[untyped-decorator]
def statistics_sums(  # type: ignore[no-untyped-def]
    x_pointer, partials, tiles, rows, channels, HEIGHT: tl.constexpr, WIDTH: tl.constexpr
):
    """Sums of x - k and its square over `tiles` tiles; k is the first pixel, lest a large mean cancel the variance."""
    channel, known = _columns(channels, WIDTH)
    k = tl.load(x_pointer + channel, mask=known, other=0.0).to(tl.float32)[None, :]
    sums, squares = tl.zeros([HEIGHT, WIDTH], tl.float32), tl.zeros([HEIGHT, WIDTH], tl.float32)
    for step in range(tiles):
        place, there = _places(tl.program_id(0) * tiles + step, rows, channels, HEIGHT, WIDTH)
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
    partials, tiles, rows, channels, KIND: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """d = (dy + more)·φ'(p), written where wanted; sums of d and of d·(x - mean) over `tiles` tiles."""
    channel, known = _columns(channels, WIDTH)
    scale = tl.load(scale_pointer + channel, mask=known, other=0.0)[None, :]
    shift = tl.load(shift_pointer + channel, mask=known, other=0.0)[None, :]
    mean = tl.load(mean_pointer + channel, mask=known, other=0.0)[None, :]
    sums, products = tl.zeros([HEIGHT, WIDTH], tl.float32), tl.zeros([HEIGHT, WIDTH], tl.float32)
    for step in range(tiles):
        place, there = _places(tl.program_id(0) * tiles + step, rows, channels, HEIGHT, WIDTH)
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
