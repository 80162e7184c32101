"""Batch normalisation + residual addition + activation as one operation, in the fewest passes over memory.

    y = φ(γ (x - mean) / √(variance + ε) + β + residual)

Forward reads x for the statistics and once more to write y; backward keeps x (and the residual) only, recomputes the
pre-activation, and needs two passes. The native library does it for channels-last maps on the CPU (`why_not` says when
it cannot); `composite` is the same mathematics in plain torch operations, differentiable to any order.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from hillock.kernels import build, dispatch, native
from hillock.kernels.bound import bind

if TYPE_CHECKING:
    from hillock.activations import Activation

__all__ = ["Normalisation", "composite", "norm_activation", "why_not"]

# How the native loops take the activation: none, max(0, p), or looked up by the bfloat16 pre-activation.
_IDENTITY, _RELU, _TABLE = 0, 1, 2


@dataclass(frozen=True)
class Normalisation:
    """What a batch normalisation brings to one call: its parameters, where it keeps its statistics, and how it is used.

    gamma, beta, running_mean, running_var: [channels] or None. momentum: the share of the new batch in the running
    statistics. epsilon: added to the variance. training: whether the batch's own statistics normalise it.
    """

    gamma: Tensor | None
    beta: Tensor | None
    running_mean: Tensor | None
    running_var: Tensor | None
    momentum: float
    epsilon: float
    training: bool


def norm_activation(
    x: Tensor,
    norm: Normalisation,
    activation: Activation | None = None,
    constants: Mapping[str, float] | None = None,
    residual: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return φ(normalised x + residual) twice, and move the running statistics as `torch.nn.BatchNorm2d` does.

    Args:
        x: [N, C, H, W], channels-last, float32 or bfloat16, on the CPU. norm: see `Normalisation`.
        activation: φ, or None for none. constants: its parameters, numbers only.
        residual: of the shape and layout of x, or None.

    The two results are one map under two names. Whoever uses it in two places (a residual branch and its shortcut)
    takes one name for each: their gradients then arrive apart and are added inside the backward pass, not in a pass of
    its own.

    The caller asks `why_not` first. Statistics and gradients of γ and β are summed in float32 within blocks of 32 k
    elements and in double across them, in an order that does not depend on the number of threads.
    """
    assert why_not(x, norm, activation, constants, residual) is None
    gamma = torch.ones(x.shape[1]) if norm.gamma is None else norm.gamma
    beta = torch.zeros(x.shape[1]) if norm.beta is None else norm.beta
    both: tuple[Tensor, Tensor] = _NormActivation.apply(x, residual, gamma, beta, norm, activation, constants or {})  # type: ignore[no-untyped-call]
    return both


def why_not(
    x: Tensor,
    norm: Normalisation,
    activation: Activation | None = None,
    constants: Mapping[str, float | Tensor] | None = None,
    residual: Tensor | None = None,
) -> str | None:
    """Return why the native library cannot take this call, in a few words, or None when it can."""
    if torch.compiler.is_compiling():
        return "torch.compile fuses plain operations itself"
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return "a function transform is active"
    if type(x) is not Tensor or x.device.type != "cpu" or x.dtype not in (torch.float32, torch.bfloat16):
        return "the input is not a plain float32 or bfloat16 tensor on the CPU"
    if x.dim() != 4 or x.numel() == 0 or not x.is_contiguous(memory_format=torch.channels_last):
        return "the input is not a channels-last map"
    if residual is not None and (
        residual.shape != x.shape or residual.dtype != x.dtype or type(residual) is not Tensor
    ):
        return "the residual differs from the input in shape or dtype"
    if any(t is not None and t.dtype != torch.float32 for t in (norm.gamma, norm.beta, norm.running_mean)):
        return "the normalisation's parameters are not float32"
    if norm.training and x.numel() == x.shape[1]:
        return "a batch of one value per channel has no statistics"
    if not norm.training and norm.running_mean is None:
        return "the normalisation keeps no running statistics"
    if any(isinstance(value, Tensor) for value in (constants or {}).values()):
        return "the activation learns its parameters"
    if not native.available():
        return native.reason()
    return None


def composite(
    x: Tensor,
    norm: Normalisation,
    activation: Activation | None,
    constants: Mapping[str, float | Tensor] | None,
    residual: Tensor | None,
) -> Tensor:
    """Return the same in plain torch operations; the running statistics are left alone."""
    use_batch = norm.training
    mean = None if use_batch else norm.running_mean
    variance = None if use_batch else norm.running_var
    y = F.batch_norm(x, mean, variance, norm.gamma, norm.beta, use_batch, 0.0, norm.epsilon)
    if residual is not None:
        y = y + residual
    return y if activation is None else dispatch.apply(activation, y, constants or {})


class _NormActivation(Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        residual: Tensor | None,
        gamma: Tensor,
        beta: Tensor,
        norm: Normalisation,
        activation: Activation | None,
        constants: Mapping[str, float],
    ) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        if residual is not None:
            residual = residual.contiguous(memory_format=torch.channels_last)
        mean, variance = _statistics(x, norm)
        inverse_std = torch.rsqrt(variance + norm.epsilon)
        scale = gamma * inverse_std
        shift = beta - mean * scale
        kind = _kind(activation, x.dtype)
        y = torch.empty_like(x)
        values = None if kind != _TABLE else _tables(activation, **constants)[0]
        native = kind if kind is not None else _IDENTITY
        _call("forward", x, x, residual, y, *_size(x), scale, shift, native, values)
        if kind is None:  # float32 and not one of the native kinds: the activation's own kernel, a pass of its own
            assert activation is not None
            y = dispatch.apply(activation, y, constants)
        ctx.save_for_backward(x, residual, gamma, beta, mean, inverse_std, scale, shift)
        ctx.norm, ctx.activation, ctx.constants, ctx.kind = norm, activation, constants, kind
        return y, y.detach()

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None, more: Tensor | None) -> tuple[Tensor | None, ...]:
        dy, more = (dy, more) if dy is not None else (more, None)
        if dy is None:
            return (None,) * 7
        x, residual, gamma, beta, mean, inverse_std, scale, shift = ctx.saved_tensors
        if torch.is_grad_enabled():  # somebody differentiates the gradient: by plain operations
            dy = dy if more is None else dy + more
            return (*_differentiable_backward(ctx, dy, x, residual, gamma, beta), None, None, None)
        dy = dy.to(x.dtype).contiguous(memory_format=torch.channels_last)
        more = None if more is None else more.to(x.dtype).contiguous(memory_format=torch.channels_last)
        kind = ctx.kind
        slopes = None if kind != _TABLE else _tables(ctx.activation, **ctx.constants)[1]
        added = residual
        if kind is None:
            pre_activation = torch.empty_like(x)
            _call("forward", x, x, residual, pre_activation, *_size(x), scale, shift, _IDENTITY, None)
            dy = dy if more is None else dy + more
            dy = bind(ctx.activation, ctx.constants)[0].backward(dy, pre_activation)
            kind, added, more = _IDENTITY, None, None  # the sum's gradient is already there
        dx = torch.empty_like(x)
        d_sum = None if added is None and more is None else torch.empty_like(x)
        d_gamma, d_beta = torch.empty_like(gamma), torch.empty_like(beta)
        by_batch = int(ctx.norm.training)
        _call(
            "backward", x, dy, more, x, added, d_sum, dx, *_size(x), scale, shift, mean, inverse_std, by_batch, kind,
            slopes, d_gamma, d_beta,
        )  # fmt: skip
        d_residual = None if residual is None else (d_sum if d_sum is not None else dy)
        return dx, d_residual, d_gamma, d_beta, None, None, None


def _differentiable_backward(
    ctx: Any, dy: Tensor, x: Tensor, residual: Tensor | None, gamma: Tensor, beta: Tensor
) -> tuple[Tensor | None, ...]:
    norm: Normalisation = ctx.norm
    inputs = [x, residual, gamma, beta]
    wanted = [t for t in inputs if t is not None and t.requires_grad]
    settled = Normalisation(gamma, beta, norm.running_mean, norm.running_var, 0.0, norm.epsilon, norm.training)
    y = composite(x, settled, ctx.activation, ctx.constants, residual)
    found = iter(torch.autograd.grad(y, wanted, dy, create_graph=True))
    return tuple(next(found) if t is not None and t.requires_grad else None for t in inputs)


def _statistics(x: Tensor, norm: Normalisation) -> tuple[Tensor, Tensor]:
    """Return mean and biased variance per channel, of the batch or the running ones; moves the running ones."""
    if not norm.training:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        return norm.running_mean, norm.running_var
    rows, channels = _size(x)
    both = torch.empty(2, channels)
    mean, variance = both[0], both[1]
    _call("statistics", x, x, rows, channels, mean, variance)
    if norm.running_mean is not None and norm.running_var is not None:
        norm.running_mean.lerp_(mean, norm.momentum)
        norm.running_var.lerp_(variance * (rows / (rows - 1)), norm.momentum)  # unbiased, as torch keeps it
    return mean, variance


def _kind(activation: Activation | None, dtype: torch.dtype) -> int | None:
    """Return how the native loops take φ, or None when it needs a pass of its own."""
    if activation is None or activation.name == "identity":
        return _IDENTITY
    if activation.name == "relu":
        return _RELU
    return _TABLE if dtype == torch.bfloat16 else None


@functools.lru_cache(maxsize=64)
def _tables(activation: Activation, **constants: float) -> tuple[Tensor, Tensor]:
    """Return φ, rounded to bfloat16, and φ' at all 65,536 bfloat16 inputs in bit order, as float32."""
    with torch.no_grad():
        every = torch.arange(-32768, 32768, dtype=torch.int32).to(torch.int16).view(torch.bfloat16).roll(32768)
        values = dispatch.apply(activation, every, constants).float()
        slopes = dispatch.slope(activation, every.float(), constants)
    return values.contiguous(), slopes.contiguous()


def _size(x: Tensor) -> tuple[int, int]:
    channels = x.shape[1]
    return x.numel() // channels, channels


_INT, _LONG, _MEMORY = ctypes.c_int, ctypes.c_int64, ctypes.c_void_p
_SIGNATURES = {
    "statistics": [_INT, _MEMORY, _LONG, _LONG, _MEMORY, _MEMORY],
    "forward": [_INT, *[_MEMORY] * 3, _LONG, _LONG, *[_MEMORY] * 2, _INT, _MEMORY],
    "backward": [_INT, *[_MEMORY] * 6, _LONG, _LONG, *[_MEMORY] * 4, _INT, _INT, *[_MEMORY] * 3],
}


@functools.cache
def _entry(name: str) -> Any:
    entry = getattr(ctypes.CDLL(str(build.library_path())), f"hillock_norm_{name}")
    entry.argtypes = _SIGNATURES[name]
    entry.restype = None
    return entry


def _call(name: str, like: Tensor, *arguments: Tensor | int | None) -> None:
    """Call the native function; tensors become addresses, and the first argument says which of the two dtypes it is."""
    _entry(name)(int(like.dtype == torch.bfloat16), *(a.data_ptr() if isinstance(a, Tensor) else a for a in arguments))
