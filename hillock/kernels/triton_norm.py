"""The passes over memory of a fused normalisation on a GPU: launches of Triton kernels. Import only where Triton is.

The calls are the native library's, with tensors for addresses. Nothing but x and the residual is kept between forward
and backward. `TRITON_INTERPRET=1` (set before the first import of triton) runs the same kernels on CPU tensors, slowly.
"""

from __future__ import annotations

from typing import NamedTuple

import triton
from torch import Tensor

from hillock.kernels.triton_launch import launch
from hillock.kernels.triton_norm_kernels import (
    backward_end,
    backward_kernel,
    backward_sums,
    forward_kernel,
    statistics_end,
    statistics_sums,
)

__all__ = ["backward", "forward", "settle", "statistics"]

TILE = 2048
"""Elements of a tile. Not tuned, like those below: no GPU was at hand when this was written."""
WIDTH = 64
"""Columns of a tile at most: a line of 128 bytes in bfloat16."""
TILES = 16
"""Tiles that a program adds up at least: 32 k elements."""
PROGRAMS = 512
"""Programs that add up a strip at most."""


class _Grid(NamedTuple):
    """How a matrix [rows, channels] is shared out: tiles [height, width], `strips` of columns side by side.

    `programs` add up a strip, `together` tiles each.
    """

    height: int
    width: int
    tiles: int
    strips: int
    together: int
    programs: int

    @classmethod
    def over(cls, rows: int, channels: int) -> _Grid:
        width = min(WIDTH, triton.next_power_of_2(channels))
        height = TILE // width
        tiles = triton.cdiv(rows, height)
        together = max(TILES, triton.cdiv(tiles, PROGRAMS))
        return cls(height, width, tiles, triton.cdiv(channels, width), together, triton.cdiv(tiles, together))


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
        statistics_sums, (grid.programs, grid.strips), x, partials, grid.together, rows, channels,
        HEIGHT=grid.height, WIDTH=grid.width,
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
        grid.together, rows, channels, KIND=kind, HEIGHT=grid.height, WIDTH=grid.width,
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
