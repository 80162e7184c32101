"""Local response normalisation across the channels of a channels-last map, one pass forward and one backward.

    y_i = x_i (k + alpha · Σ_{|i - j| <= size/2} x_j²)^(-3/4)

Float32 and bfloat16, by the native library or, on a GPU, by Triton; computed in float32 and rounded once. `composite`
is the same for any power in plain torch operations, differentiable to any order.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from hillock.kernels.entry import ADDRESS, FLAG, REAL, SIZE, entry
from hillock.kernels.traced import is_transformed, missing, runs_by_triton

__all__ = ["Window", "backward", "composite", "forward", "response_norm", "takes"]


class Window(NamedTuple):
    """size: how many neighbouring channels are summed, odd; they are of one tower. alpha, beta, k: see above."""

    size: int
    alpha: float
    beta: float
    k: float
    towers: int


def takes(x: Tensor, window: Window) -> bool:
    """Whether `response_norm` takes this input: a plain channels-last map outside function transforms, power 3/4."""
    if is_transformed() or window.beta != 0.75 or window.k <= 0 or window.alpha < 0:
        return False
    if type(x) is not Tensor or x.dtype not in (torch.float32, torch.bfloat16):
        return False
    if x.dim() != 4 or x.numel() == 0 or not x.is_contiguous(memory_format=torch.channels_last):
        return False
    return x.shape[1] % window.towers == 0 and missing(x) is None


def response_norm(x: Tensor, window: Window) -> Tensor:
    """Return the normalised map; the caller asks `takes` first. Gradients can be differentiated again."""
    if torch.compiler.is_compiling():
        from hillock.kernels import operators

        traced: Tensor = operators.response_norm(x, *window)
        return traced
    y: Tensor = _ResponseNorm.apply(x, window)  # type: ignore[no-untyped-call]
    return y


def composite(x: Tensor, window: Window) -> Tensor:
    """Return the same in plain torch operations, the sums in at least float32."""
    kind = x.device.type if torch.amp.is_autocast_available(x.device.type) else "cpu"  # meta has none
    with torch.autocast(kind, enabled=False):
        wide = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        # A 1x1 convolution with a band of ones keeps the layout, needs no padding and is fast both ways.
        sums = F.conv2d(wide.square(), _band(wide, window))
        base = window.k + window.alpha * sums
        if window.beta == 0.75:  # base^-1/2 base^-1/4, several times faster than a power
            root = base.rsqrt()
            return (wide * (root * root.sqrt())).to(x.dtype)
        return (wide * base**-window.beta).to(x.dtype)


def _band(x: Tensor, window: Window) -> Tensor:
    """Return the weight [C, C, 1, 1] that sums each map with its neighbours in the same tower."""
    maps = torch.arange(x.shape[1], device=x.device)
    tower = maps // (x.shape[1] // window.towers)
    near = (maps[:, None] - maps).abs() <= window.size // 2
    return (near & (tower[:, None] == tower)).to(x.dtype)[:, :, None, None]


class _ResponseNorm(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, window: Window) -> Tensor:
        ctx.save_for_backward(x)
        ctx.window = window
        return forward(x, window)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        if torch.is_grad_enabled():  # somebody differentiates the gradient: by plain operations
            return torch.autograd.grad(composite(x, ctx.window), x, dy, create_graph=True)[0], None
        return backward(x, dy.to(x.dtype).contiguous(memory_format=torch.channels_last), ctx.window), None


def forward(x: Tensor, window: Window) -> Tensor:
    """Return the normalised map; no autograd."""
    y = torch.empty_like(x)
    _call("forward", window, x, y)
    return y


def backward(x: Tensor, dy: Tensor, window: Window) -> Tensor:
    """Return the gradient of x, for dy of the dtype and layout of x; no autograd."""
    dx = torch.empty_like(x)
    _call("backward", window, x, dy, dx)
    return dx


def _call(name: str, window: Window, x: Tensor, *others: Tensor) -> None:
    """Call the kernel with x and the other maps."""
    addresses = [x.data_ptr(), *(other.data_ptr() for other in others)]
    channels = x.shape[1]
    sizes = (x.numel() // channels, channels, window.towers, window.size // 2)
    if runs_by_triton(x):
        from hillock.kernels import triton_response_norm

        getattr(triton_response_norm, name)(x, *others, *sizes, window.alpha, window.k)
        return
    call = entry(f"response_norm_{name}", FLAG, *[ADDRESS] * len(addresses), *[SIZE] * 4, REAL, REAL)
    call(int(x.dtype == torch.bfloat16), *addresses, *sizes, window.alpha, window.k)
