"""Batch normalisation + residual addition + activation as one operation, in the fewest passes over memory.

    y = φ(γ (x - mean) / √(variance + ε) + β + residual)

Forward reads x for the statistics and once more to write y; backward keeps x (and the residual) only, recomputes the
pre-activation, and needs two passes. The native library does it for channels-last maps on the CPU, Triton kernels on a
GPU (`why_not` says when they cannot); `composite` is the same mathematics in plain torch operations, differentiable to
any order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.autograd.graph import increment_version

from hillock.kernels import dispatch, norm_passes, setting
from hillock.kernels.traced import is_transformed, missing

if TYPE_CHECKING:
    from hillock.activations import Activation

__all__ = ["Normalisation", "composite", "norm_activation", "why_not"]


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

    def move_towards(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Move the running statistics towards those of a batch of `count` values a channel."""
        if self.running_mean is not None and self.running_var is not None:
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)  # unbiased, as torch keeps it


def norm_activation(
    x: Tensor,
    norm: Normalisation,
    activation: Activation | None = None,
    constants: Mapping[str, float] | None = None,
    residual: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return φ(normalised x + residual) twice, and move the running statistics as `torch.nn.BatchNorm2d` does.

    Args:
        x: [N, C, H, W], channels-last, float32 or bfloat16. norm: see `Normalisation`.
        activation: φ, or None for none. constants: its parameters, numbers only.
        residual: of the shape and layout of x, or None.

    The two results are one map under two names. Whoever uses it in two places (a residual branch and its shortcut)
    takes one name for each: their gradients then arrive apart and are added inside the backward pass, not in a pass of
    its own.

    Results below 2^-126 in size may be zero in bfloat16: the processor's instruction for it leaves out subnormals.
    The caller asks `why_not` first. Statistics and gradients of γ and β are summed in float32 within blocks (32 k
    elements on the CPU) and in double across them, in an order that does not depend on the number of threads.
    """
    assert x.is_contiguous(memory_format=torch.channels_last)
    gamma = x.new_ones(x.shape[1], dtype=torch.float32) if norm.gamma is None else norm.gamma
    beta = x.new_zeros(x.shape[1], dtype=torch.float32) if norm.beta is None else norm.beta
    if torch.compiler.is_compiling():
        from hillock.kernels import operators

        y = operators.normalised(x, residual, gamma, beta, norm, activation, constants or {})
        return y, y
    both: tuple[Tensor, Tensor] = _NormActivation.apply(x, residual, gamma, beta, norm, activation, constants or {})  # type: ignore[no-untyped-call]
    return both


def why_not(
    x: Tensor,
    norm: Normalisation,
    activation: Activation | None = None,
    constants: Mapping[str, float | Tensor] | None = None,
    residual: Tensor | None = None,
) -> str | None:
    """Return why the fused kernels cannot take this call, in a few words, or None when they can."""
    if is_transformed():
        return "a function transform or an export is under way"
    if type(x) is not Tensor or x.dtype not in (torch.float32, torch.bfloat16):
        return "the input is not a plain float32 or bfloat16 tensor"
    if x.dim() != 4 or x.numel() == 0 or not x.is_contiguous(memory_format=torch.channels_last):
        return "the input is not a channels-last map"
    if residual is not None and (
        residual.shape != x.shape
        or residual.dtype != x.dtype
        or residual.device != x.device
        or type(residual) is not Tensor
    ):
        return "the residual differs from the input in shape, dtype or device"
    for vector in (norm.gamma, norm.beta, norm.running_mean, norm.running_var):
        if vector is not None and (vector.dtype != torch.float32 or vector.device != x.device):
            return "the normalisation's parameters are not float32, or not where the input is"
    if norm.training and x.numel() == x.shape[1]:
        return "a batch of one value per channel has no statistics"
    if not norm.training and norm.running_mean is None:
        return "the normalisation keeps no running statistics"
    if any(isinstance(value, Tensor) for value in (constants or {}).values()):
        return "the activation learns its parameters"
    return missing(x)


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
        by = _settled(x, gamma, beta, norm)
        y = norm_passes.forward(x, residual, by, activation, constants)
        ctx.save_for_backward(x, residual, gamma, beta, *by)
        ctx.norm, ctx.activation, ctx.constants = norm, activation, constants
        ctx.precision = setting.current.precision
        return y, y.detach()

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None, more: Tensor | None) -> tuple[Tensor | None, ...]:
        dy, more = (dy, more) if dy is not None else (more, None)
        if dy is None:
            return (None,) * 7
        x, residual, gamma, beta, *by = ctx.saved_tensors
        if torch.is_grad_enabled():  # somebody differentiates the gradient: by plain operations
            dy = dy if more is None else dy + more
            return (*_differentiable_backward(ctx, dy, x, residual, gamma, beta), None, None, None)
        dy = dy.to(x.dtype).contiguous(memory_format=torch.channels_last)
        more = None if more is None else more.to(x.dtype).contiguous(memory_format=torch.channels_last)
        used = norm_passes.Affine(*by), ctx.activation, ctx.constants, ctx.norm.training
        with setting.precision(ctx.precision):
            return (*norm_passes.backward(dy, more, x, residual, *used), None, None, None)


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


def _settled(x: Tensor, gamma: Tensor, beta: Tensor, norm: Normalisation) -> norm_passes.Affine:
    """Return what the normalisation does to a channel, by batch or running statistics; moves the running ones."""
    if not norm.training:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        return norm_passes.affine(gamma, beta, norm.running_mean, norm.running_var, norm.epsilon)
    running = norm.running_mean, norm.running_var
    if all(vector is None or vector.is_contiguous() for vector in (gamma, beta, *running)):
        by = norm_passes.settle(x, gamma, beta, norm.epsilon, *running, norm.momentum)
        increment_version([vector for vector in running if vector is not None])  # somebody's backward may hold them
        return by
    mean, variance = norm_passes.statistics(x)
    norm.move_towards(mean, variance, x.numel() // x.shape[1])
    return norm_passes.affine(gamma, beta, mean, variance, norm.epsilon)
