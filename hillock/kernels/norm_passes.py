"""The passes over memory of a fused normalisation, with plain tensors in and out, no autograd.

    statistics(x)          mean and biased variance of each channel
    settle(x, ...)         the same as scale and shift, moving the running statistics
    forward(x, ...)        y = φ(scale·x + shift + residual)
    backward(dy, ...)      gradients of x, residual, γ and β

`hillock.kernels.norm_activation` gives them to autograd, `hillock.kernels.operators` to torch.compile. All maps are
channels-last, float32 or bfloat16; what belongs to a channel is float32. On the CPU the native library makes the
passes, on a GPU the same ones are Triton kernels.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from hillock.activations.catalogue import is_catalogued
from hillock.kernels import dispatch, setting
from hillock.kernels.bound import bind
from hillock.kernels.entry import ADDRESS, FLAG, REAL, SIZE, entry
from hillock.kernels.traced import runs_by_triton

if TYPE_CHECKING:
    from hillock.activations import Activation

__all__ = ["Affine", "affine", "backward", "forward", "settle", "statistics"]

# How the loops take the activation: none, max(0, p), or looked up by the bfloat16 pre-activation.
_IDENTITY, _RELU, _TABLE = 0, 1, 2


class Affine(NamedTuple):
    """A normalisation as what it does to a channel: scale·x + shift; [channels] each."""

    mean: Tensor
    inverse_std: Tensor
    scale: Tensor
    shift: Tensor


def affine(gamma: Tensor, beta: Tensor, mean: Tensor, variance: Tensor, epsilon: float) -> Affine:
    """Return γ (x - mean) / √(variance + ε) + β as a scale and a shift."""
    inverse_std = torch.rsqrt(variance + epsilon)
    scale = gamma * inverse_std
    return Affine(mean.contiguous(), inverse_std, scale, beta - mean * scale)


def statistics(x: Tensor) -> Tensor:
    """Return mean and biased variance per channel, [2, channels]."""
    rows, channels = _size(x)
    both = x.new_empty(2, channels, dtype=torch.float32)
    _call("statistics", x, x, rows, channels, both[0], both[1])
    return both


def settle(
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    epsilon: float,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    momentum: float,
) -> Affine:
    """Return `affine` of the statistics of x; the running statistics move by `momentum`. All vectors are contiguous."""
    rows, channels = _size(x)
    out = x.new_empty(5, channels, dtype=torch.float32)
    _call(
        "settle", x, x, rows, channels, gamma, beta, epsilon, running_mean, running_var, momentum, out
    )  # fmt: skip
    mean, _, *others = out.unbind()
    return Affine(mean, *others)


def forward(
    x: Tensor, residual: Tensor | None, by: Affine, activation: Activation | None, constants: Mapping[str, float]
) -> Tensor:
    """Return φ(scale·x + shift + residual) in the dtype of x."""
    kind = _kind(activation, x.dtype)
    y = torch.empty_like(x)
    values = None if kind != _TABLE else _tables(activation, x.device, **constants)[0]
    pointwise = kind if kind is not None else _IDENTITY
    _call("forward", x, x, residual, y, *_size(x), by.scale, by.shift, pointwise, values)
    if kind is None:  # float32 and not one of the kinds: the activation's own kernel, a pass of its own
        assert activation is not None
        y = dispatch.apply(activation, y, constants)
    return y


def backward(
    dy: Tensor,
    more: Tensor | None,
    x: Tensor,
    residual: Tensor | None,
    by: Affine,
    activation: Activation | None,
    constants: Mapping[str, float],
    by_batch: bool,
) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
    """Return the gradients of x, residual (None without one), γ and β.

    `more` is added to dy on the way. by_batch: mean and variance are those of x, and the gradient runs through them.
    None of the results shares memory with dy.
    """
    kind = _kind(activation, x.dtype)
    slopes = None if kind != _TABLE else _tables(activation, x.device, **constants)[1]
    added = residual
    if kind is None:
        assert activation is not None
        pre_activation = torch.empty_like(x)
        _call("forward", x, x, residual, pre_activation, *_size(x), by.scale, by.shift, _IDENTITY, None)
        dy = dy if more is None else dy + more
        dy = bind(activation, constants)[0].backward(dy, pre_activation)
        kind, added, more = _IDENTITY, None, None  # the sum's gradient is already there
    dx = torch.empty_like(x)
    d_sum = None if added is None and more is None else torch.empty_like(x)
    d_gamma, d_beta = torch.empty_like(by.scale), torch.empty_like(by.scale)
    _call(
        "backward", x, dy, more, x, added, d_sum, dx, *_size(x), by.scale, by.shift, by.mean, by.inverse_std,
        int(by_batch), kind, slopes, d_gamma, d_beta,
    )  # fmt: skip
    d_residual = None if residual is None else (d_sum if d_sum is not None else dy)
    return dx, d_residual, d_gamma, d_beta


def _kind(activation: Activation | None, dtype: torch.dtype) -> int | None:
    """Return how the native loops take φ, or None when it needs a pass of its own."""
    if activation is None or (activation.name == "identity" and is_catalogued(activation)):
        return _IDENTITY
    if activation.name == "relu" and is_catalogued(activation):
        return _RELU
    return _TABLE if dtype == torch.bfloat16 else None


@functools.lru_cache(maxsize=64)
def _tables(activation: Activation, device: torch.device, **constants: float) -> tuple[Tensor, Tensor]:
    """Return φ, rounded to bfloat16, and φ' at all 65,536 bfloat16 inputs in bit order, as float32."""
    with torch.no_grad():
        every = torch.arange(-32768, 32768, dtype=torch.int32).to(torch.int16).view(torch.bfloat16).roll(32768)
        values = dispatch.apply(activation, every, constants).float()
        slopes = dispatch.slope(activation, every.float(), constants)
    return values.to(device), slopes.to(device)


setting.current.when_changed.append(_tables.cache_clear)  # they hold values of one precision


def _size(x: Tensor) -> tuple[int, int]:
    channels = x.shape[1]
    return x.numel() // channels, channels


_SIGNATURES = {
    "statistics": [FLAG, ADDRESS, SIZE, SIZE, ADDRESS, ADDRESS],
    "settle": [FLAG, ADDRESS, SIZE, SIZE, ADDRESS, ADDRESS, REAL, ADDRESS, ADDRESS, REAL, ADDRESS],
    "forward": [FLAG, *[ADDRESS] * 3, SIZE, SIZE, *[ADDRESS] * 2, FLAG, ADDRESS],
    "backward": [FLAG, *[ADDRESS] * 6, SIZE, SIZE, *[ADDRESS] * 4, FLAG, FLAG, *[ADDRESS] * 3],
}


def _call(name: str, like: Tensor, *arguments: Tensor | float | None) -> None:
    """Make one pass, in the dtype and on the device of `like`; the native library takes addresses for tensors."""
    if runs_by_triton(like):
        from hillock.kernels import triton_norm

        getattr(triton_norm, name)(*arguments)
        return
    addresses = (a.data_ptr() if isinstance(a, Tensor) else a for a in arguments)
    entry(f"norm_{name}", *_SIGNATURES[name])(int(like.dtype == torch.bfloat16), *addresses)
