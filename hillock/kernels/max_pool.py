"""Max pooling of channels-last maps that keeps one byte a result for its backward pass.

torch keeps an int64 a result, eight times that, and its channels-last backward pass scatters. Here an input pixel
gathers the gradients of the windows that it won. Float32 and bfloat16, by the native library or, on a GPU, by Triton.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from hillock.kernels.entry import ADDRESS, FLAG, SIZE, entry
from hillock.kernels.traced import is_transformed, missing, runs_by_triton

__all__ = ["largest", "max_pool", "scattered", "takes"]

_LARGEST_WINDOW = 15  # pixels a side: the place in a window is one byte


def takes(x: Tensor, side: int, padding: int) -> bool:
    """Whether `max_pool` takes this input: a plain channels-last map outside function transforms."""
    if is_transformed():
        return False
    if type(x) is not Tensor or x.dtype not in (torch.float32, torch.bfloat16):
        return False
    if x.dim() != 4 or x.numel() == 0 or not x.is_contiguous(memory_format=torch.channels_last):
        return False
    fits = min(x.shape[2:]) + 2 * padding >= side
    return side <= _LARGEST_WINDOW and 2 * padding <= side and fits and missing(x) is None


def max_pool(x: Tensor, side: int, stride: int, padding: int = 0) -> Tensor:
    """Return the largest value of each square window; to the bit what `torch.nn.functional.max_pool2d` returns.

    Arguments: x [N, C, H, W], see `takes`; side, stride, padding of the windows in pixels. Gradients can be
    differentiated again.
    """
    if torch.compiler.is_compiling():
        from hillock.kernels import operators

        return operators.max_pool(x, side, stride, padding)
    y: Tensor = _MaxPool.apply(x, (side, stride, padding))  # type: ignore[no-untyped-call]
    return y


def largest(x: Tensor, window: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """Return the largest value of each window (side, stride, padding), and its place there; no autograd."""
    side, stride, padding = window
    rows, columns = ((length + 2 * padding - side) // stride + 1 for length in x.shape[2:])
    y = _map((*x.shape[:2], rows, columns), like=x)
    where = torch.empty_like(y, dtype=torch.uint8)
    _call("forward", x, x, y, where, x.shape, window, y.shape)
    return y, where


def scattered(dy: Tensor, where: Tensor, window: tuple[int, int, int], shape: torch.Size) -> Tensor:
    """Return the gradient of the input of that shape; no autograd."""
    dx = _map(shape, like=dy)
    _call("backward", dy, dy, where, dx, shape, window, dy.shape)
    return dx


def _map(shape: tuple[int, ...], like: Tensor) -> Tensor:
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)


class _MaxPool(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, window: tuple[int, int, int]) -> Tensor:
        y, where = largest(x, window)
        ctx.save_for_backward(where)
        ctx.window, ctx.shape = window, x.shape
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None]:
        (where,) = ctx.saved_tensors
        return _Scatter.apply(dy, where, ctx.window, ctx.shape), None  # type: ignore[no-untyped-call]


class _Scatter(Function):
    """dy -> dx, which is linear; its own backward pass picks what stood at the largest values."""

    @staticmethod
    def forward(ctx: Any, dy: Tensor, where: Tensor, window: tuple[int, int, int], shape: torch.Size) -> Tensor:
        ctx.save_for_backward(where)
        ctx.window = window
        return scattered(dy.contiguous(memory_format=torch.channels_last), where, window, shape)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (where,) = ctx.saved_tensors
        side, stride, padding = ctx.window
        rows = torch.arange(where.shape[2], device=where.device)[:, None] * stride - padding + where // side
        columns = torch.arange(where.shape[3], device=where.device) * stride - padding + where % side
        flat = (rows * gradient.shape[3] + columns).flatten(2)
        return gradient.flatten(2).gather(2, flat).view(where.shape), None, None, None


def _call(
    name: str,
    like: Tensor,
    a: Tensor,
    b: Tensor,
    c: Tensor,
    shape: torch.Size,
    window: tuple[int, ...],
    out: torch.Size,
) -> None:
    """Call the kernel with three maps, the input's sizes, the window and the result's sizes."""
    pictures, channels, height, width = shape
    sizes = (pictures, height, width, channels, *window, out[2], out[3])
    if runs_by_triton(like):
        from hillock.kernels import triton_pool

        getattr(triton_pool, name)(a, b, c, *sizes)
        return
    addresses = (a.data_ptr(), b.data_ptr(), c.data_ptr())
    call = entry(f"max_pool_{name}", FLAG, *[ADDRESS] * 3, *[SIZE] * 9)
    call(int(like.dtype == torch.bfloat16), *addresses, *sizes)
