"""The weight gradient of a 3x3 convolution on AMX tiles, for bfloat16 maps in channels-last layout.

oneDNN computes values and input gradients at the speed of the caches, but rewrites the whole weight gradient once a
picture, which for small maps is most of a training step. The native kernel (`cpp/weight_gradient.cpp`) lays a chunk of
pictures out as one line of pixels and multiplies over all of it.

Measured by `benchmarks/weight_gradient.py`; docs/speed.md shows its result.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from hillock.kernels import build
from hillock.kernels.entry import ADDRESS, SIZE, entry

__all__ = ["Convolution", "available", "convolution", "gains", "torch_gradients", "weight_gradient"]

_TILE = 16  # channels come in multiples of this


def gains(x: Tensor, weight: Tensor) -> bool:
    """Whether the native weight gradient takes this input and weight, and is the faster one.

    It depends on shapes alone, never on a timing of the moment, so that a resumed training repeats every bit.
    """
    outputs, inputs = weight.shape[:2]
    if weight.shape[2:] != (3, 3) or inputs % _TILE or outputs % _TILE or inputs * outputs == 0 or x.numel() == 0:
        return False
    if x.dtype != torch.bfloat16 or x.device.type != "cpu" or not x.is_contiguous(memory_format=torch.channels_last):
        return False
    if torch.compiler.is_compiling():
        from hillock.kernels import operators

        return operators.tiles_are_there()
    return available()


def convolution(x: Tensor, weight: Tensor, stride: int = 1) -> Tensor:
    """Return the 3x3 convolution of stride 1 or 2 and padding 1, without bias, whose weight gradient is the native one.

    Arguments: x bfloat16 [N, C, H, W] channels-last; weight [O, C, 3, 3], float32 or bfloat16. The value is torch's own
    to the bit, computed with the weight rounded to bfloat16; the weight gradient is summed and returned in float32
    where the weight is. Where somebody differentiates the gradient, torch's own is used. The caller asks `gains` first.
    """
    if torch.compiler.is_compiling():
        from hillock.kernels import operators

        return operators.convolution(x, weight, stride)
    y: Tensor = Convolution.apply(x, weight, stride)  # type: ignore[no-untyped-call]
    return y


def weight_gradient(x: Tensor, dy: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Return the gradient of `weight`, float32, for bfloat16 inputs x and result gradients dy, both channels-last."""
    found = torch.empty_like(weight, dtype=torch.float32)
    pictures, inputs, height, width = x.shape
    sizes = (pictures, height, width, stride, weight.shape[0], inputs, *found.stride())
    call = entry("weight_gradient", *[ADDRESS] * 3, *[SIZE] * 10)
    call(x.data_ptr(), dy.data_ptr(), found.data_ptr(), *sizes)
    return found


class Convolution(Function):
    """The convolution for autograd; compiled code has its own backward (`hillock.kernels.operators`)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        rounded = weight.to(x.dtype)
        ctx.save_for_backward(x, weight, rounded)
        ctx.stride = stride
        return F.conv2d(x, rounded, None, stride=stride, padding=1)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight, rounded = ctx.saved_tensors
        wants_x, wants_weight, _ = ctx.needs_input_grad
        if torch.is_grad_enabled():  # somebody differentiates the gradient: by plain operations
            dx, d_weight = torch_gradients(dy, x, weight.to(x.dtype), ctx.stride, wants_x, wants_weight)
            return dx, None if d_weight is None else d_weight.to(weight.dtype), None
        dy = dy.contiguous(memory_format=torch.channels_last)
        dx = torch_gradients(dy, x, rounded, ctx.stride, True, False)[0] if wants_x else None
        return dx, weight_gradient(x, dy, weight, ctx.stride).to(weight.dtype) if wants_weight else None, None


def torch_gradients(
    dy: Tensor, x: Tensor, weight: Tensor, stride: int, wants_x: bool, wants_weight: bool
) -> tuple[Tensor | None, Tensor | None]:
    """Return torch's own gradients of x and weight, those that are wanted."""
    strides, one, wanted = [stride, stride], [1, 1], [wants_x, wants_weight, False]
    dx, d_weight, _ = torch.ops.aten.convolution_backward(
        dy, x, weight, None, strides, one, one, False, [0, 0], 1, wanted
    )
    return dx, d_weight


@functools.cache
def available() -> bool:
    """Whether the library is there, was built for AMX, and the system grants the tile registers."""
    if not build.available():
        return False
    return bool(ctypes.CDLL(str(build.library())).hillock_weight_gradient_available())  # the only symbol elsewhere
