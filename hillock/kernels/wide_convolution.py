"""The weight gradient of a convolution over small maps, computed on pictures laid side by side.

oneDNN rewrites the whole weight gradient once for every picture of a batch, and rows of 3 to 9 pixels leave its matrix
tiles mostly empty. Laid side by side with one column of zeros between them, k pictures of width W are one of width
k (W + 1): an ordinary convolution sees the zeros as its padding, and the gradient's own zero columns add nothing.

Measured (`benchmarks/wide_convolution.py`, bfloat16, channels-last, 3x3, batch 64, one thread of a Xeon with AMX,
copies counted): 4.4 times as fast for 512 channels at 3x3 pixels, 2.5 for 256 at 6x6, 2.2 for 256 at 7x7, 1.1 for 64 at
8x8; maps of 12x12 and 16x16 lose.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

__all__ = ["convolution", "pictures_side_by_side"]

_MOST_PIXELS = 81  # of a map: 9x9, the largest that gained in the measurement above
_FEWEST_CHANNELS = 64  # on both sides, likewise
_MOST_SIDE_BY_SIDE = 16  # more gains nothing
_FEWEST_SIDE_BY_SIDE = 4  # fewer do not repay the copies


def pictures_side_by_side(x: Tensor, weight: Tensor) -> int:
    """Return how many pictures to lay side by side for this input and weight; 1 where the plain way is as fast.

    It depends on shapes alone, never on a timing of the moment, so that a resumed training repeats every bit.
    """
    pictures, channels, height, width = x.shape
    small = height * width <= _MOST_PIXELS and min(channels, weight.shape[0]) >= _FEWEST_CHANNELS
    if not small or x.dtype != torch.bfloat16 or x.device.type != "cpu":
        return 1
    most = max(k for k in range(1, _MOST_SIDE_BY_SIDE + 1) if pictures % k == 0)
    return most if most >= _FEWEST_SIDE_BY_SIDE else 1


def convolution(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return the 3x3 convolution of stride 1 and padding 1, with the weight gradient computed the wide way.

    Arguments: x [N, C, H, W] channels-last; weight [O, C, 3, 3]; bias [O] or None. The value is torch's own to the
    bit; the weight gradient is the same sum in another order. Where somebody differentiates the gradient, torch's own
    is used.
    """
    y: Tensor = _WideConvolution.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return y


class _WideConvolution(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.bias = bias is not None
        return F.conv2d(x, weight, bias, stride=1, padding=1)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, _ = ctx.needs_input_grad
        together = 1 if torch.is_grad_enabled() else pictures_side_by_side(x, weight)
        plain = [needs_x, needs_weight and together == 1, ctx.bias]
        dx, d_weight, d_bias = _backward(dy, x, weight, plain)
        if needs_weight and together > 1:
            wide = [_side_by_side(t, together) for t in (dy, x)]
            _, d_weight, _ = _backward(wide[0], wide[1], weight, [False, True, False])
        return dx, d_weight, d_bias


def _backward(dy: Tensor, x: Tensor, weight: Tensor, wanted: list[bool]) -> tuple[Tensor, Tensor, Tensor]:
    one = [1, 1]
    bias_sizes = [weight.shape[0]] if wanted[2] else None
    found: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        dy, x, weight, bias_sizes, one, one, one, False, [0, 0], 1, wanted
    )
    return found


def _side_by_side(x: Tensor, together: int) -> Tensor:
    """[N, C, H, W] -> [N/k, C, H, k (W + 1)], channels-last, zeros in every (W + 1)-th column."""
    pictures, channels, height, width = x.shape
    wide = x.new_empty(pictures // together, height, together, width + 1, channels)
    wide[:, :, :, width:] = 0
    wide[:, :, :, :width] = x.view(-1, together, channels, height, width).permute(0, 3, 1, 4, 2)
    return wide.flatten(2, 3).permute(0, 3, 1, 2)
