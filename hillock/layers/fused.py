"""Running a network's layers fused: one switch for a whole network, its modules and state dict unchanged.

    fuse(model)      normalisation + residual addition + activation become one operation; 3x3 convolutions and max
                     poolings run backward in kernels of their own (`hillock.kernels.norm_activation`,
                     `hillock.kernels.weight_gradient`, `hillock.kernels.max_pool`)
    unfuse(model)    back to one operation a module

What is fused is read off the structure: a `BatchNorm2d` followed by an activation inside an `nn.Sequential`, and the
end of a residual unit; response norms, poolings and convolutions run in kernels of their own. A module with hooks is
left alone, so that nobody who watches it is deceived; whatever a fused operation cannot take runs as plain torch
operations, and the reason is logged once. Inside `torch.compile` the fused operations are operators that it calls
(`hillock.kernels.operators`); in `torch.export` and function transforms the network is the plain one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.autograd import Function

from hillock.activations.catalogue import is_catalogued
from hillock.kernels.max_pool import max_pool, takes
from hillock.kernels.norm_activation import Normalisation, norm_activation, why_not
from hillock.kernels.response_norm import response_norm
from hillock.kernels.response_norm import takes as takes_response_norm
from hillock.kernels.traced import is_transformed, say_once
from hillock.kernels.weight_gradient import convolution, gains
from hillock.layers.recognise import recognise
from hillock.layers.residual import ResidualUnit
from hillock.layers.response_norm import ResponseNorm
from hillock.layers.shortcut import Addition, PaddedShortcut

if TYPE_CHECKING:
    from hillock.activations import Activation

__all__ = ["fuse", "is_fused", "unfuse", "unfused"]


def fuse(model: nn.Module) -> nn.Module:
    """Make the network run fused from now on, and return it. Parameters, buffers, names and hooks stay what they are.

    The results equal the plain network's within rounding: statistics are summed in another order, and the activation
    sees the pre-activation before it is rounded to bfloat16.

    >>> model = fuse(nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU()))
    >>> is_fused(model), is_fused(unfuse(model))
    (True, False)
    """
    for module in model.modules():
        if type(module) in _FUSED:
            module.__class__ = _FUSED[type(module)]
    return model


def unfuse(model: nn.Module) -> nn.Module:
    """Undo `fuse`, and return the network."""
    plain = {fused: plain for plain, fused in _FUSED.items()}
    for module in model.modules():
        if type(module) in plain:
            module.__class__ = plain[type(module)]
    return model


def is_fused(model: nn.Module) -> bool:
    """Whether any part of the network runs fused."""
    return any(type(module) in _FUSED.values() for module in model.modules())


@contextmanager
def unfused(model: nn.Module) -> Iterator[nn.Module]:
    """Run the network plain for the length of a `with` block: for whoever wants to see every module called."""
    was_fused = [module for module in model.modules() if type(module) in _FUSED.values()]
    unfuse(model)
    try:
        yield model
    finally:
        for module in was_fused:
            module.__class__ = _FUSED[type(module)]


class FusedSequential(nn.Sequential):
    """An `nn.Sequential` that runs each batch normalisation together with the activation after it."""

    def forward(self, x: Tensor) -> Tensor:
        return _in_turn(list(self), x)


class FusedResidualUnit(ResidualUnit):
    """A residual unit that adds its shortcut and activates in the pass that normalises its branch."""

    def forward(self, x: Tensor) -> Tensor:
        end = list(self.branch)[-1:]
        after = list(self.after)
        joins = type(self.join) is Addition and self.shortcut is not None
        known = not after or (len(after) == 1 and recognise(after[0]) is not None)
        if not (joins and known and end and isinstance(end[0], nn.BatchNorm2d)):
            return super().forward(x)
        second = _second_name(x)
        x, second = (x, second) if not self.common else (self.common(x),) * 2
        assert self.shortcut is not None
        shortcut = self.shortcut(second)
        branch = _in_turn(list(self.branch)[:-1], x)
        return _normalised(branch, end[0], after[0] if after else None, shortcut)


class FusedConv2d(nn.Conv2d):
    """An `nn.Conv2d` that casts its weight itself and computes a 3x3 weight gradient on matrix tiles."""

    def forward(self, x: Tensor) -> Tensor:
        ordinary = (self.kernel_size, self.padding, self.dilation, self.groups, self.padding_mode)
        known = ordinary == ((3, 3), (1, 1), (1, 1), 1, "zeros") and self.stride in ((1, 1), (2, 2))
        if not known or self.bias is not None:
            return super().forward(x)
        if is_transformed():
            return super().forward(x)
        is_cast = x.is_cpu and torch.float64 not in (x.dtype, self.weight.dtype)  # autocast leaves float64 alone
        if is_cast and torch.is_autocast_enabled("cpu"):
            x = x.to(torch.get_autocast_dtype("cpu"))
        elif self.weight.dtype != x.dtype:
            return super().forward(x)
        needed = torch.is_grad_enabled() and self.weight.requires_grad and type(x) is Tensor and x.dim() == 4
        if needed and gains(x, self.weight):
            return convolution(x, self.weight, self.stride[0])
        y: Tensor = super().forward(x)
        return y


class FusedMaxPool2d(nn.MaxPool2d):
    """An `nn.MaxPool2d` that keeps one byte a result."""

    def forward(self, x: Tensor) -> Tensor:
        settings = (self.kernel_size, self.stride, self.padding)
        square = all(isinstance(setting, int) for setting in settings)
        if not square or self.dilation != 1 or self.return_indices:
            return cast(Tensor, super().forward(x))
        side, stride, padding = cast(tuple[int, int, int], settings)
        exact = not self.ceil_mode or all((length + 2 * padding - side) % stride == 0 for length in x.shape[-2:])
        if exact and takes(x, side, padding):
            return max_pool(x, side, stride, padding)
        y: Tensor = super().forward(x)
        return y


class FusedResponseNorm(ResponseNorm):
    """A `ResponseNorm` of one pass each way."""

    def forward(self, x: Tensor) -> Tensor:
        return response_norm(x, self.window) if takes_response_norm(x, self.window) else super().forward(x)


class FusedPaddedShortcut(PaddedShortcut):
    """Option A's shortcut written in one go, with a gradient in the memory layout of its map."""

    def forward(self, x: Tensor) -> Tensor:
        plain = torch.compiler.is_compiling() or torch._C._functorch.peek_interpreter_stack() is not None
        if plain or x.dim() != 4 or not x.is_contiguous(memory_format=torch.channels_last):
            return super().forward(x)
        y: Tensor = _Padded.apply(x, self.out_channels, self.stride)  # type: ignore[no-untyped-call]
        return y


class _Padded(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, channels: int, stride: int) -> Tensor:
        ctx.shape, ctx.stride = x.shape, stride
        taken = x[:, :, ::stride, ::stride]
        shape = (len(x), channels, *taken.shape[2:])
        y = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
        y[:, : x.shape[1]] = taken
        y[:, x.shape[1] :] = 0
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None, None]:
        dx = torch.empty(ctx.shape, dtype=dy.dtype, device=dy.device, memory_format=torch.channels_last).zero_()
        dx[:, :, :: ctx.stride, :: ctx.stride] = dy[:, : ctx.shape[1]]  # plain operations: it can be differentiated
        return dx, None, None


_FUSED: dict[type[nn.Module], type[nn.Module]] = {
    nn.Sequential: FusedSequential,
    ResidualUnit: FusedResidualUnit,
    nn.Conv2d: FusedConv2d,
    nn.MaxPool2d: FusedMaxPool2d,
    ResponseNorm: FusedResponseNorm,
    PaddedShortcut: FusedPaddedShortcut,
}


def _in_turn(modules: list[nn.Module], x: Tensor) -> Tensor:
    """Run the modules one after the other, each batch normalisation together with the activation after it."""
    while modules:
        module = modules.pop(0)
        if isinstance(module, nn.BatchNorm2d):
            activation = modules.pop(0) if modules and recognise(modules[0]) else None
            x = _normalised(x, module, activation)
        else:
            x = module(x)
    return x


def _normalised(
    x: Tensor, norm: nn.BatchNorm2d, activation: nn.Module | None, residual: Tensor | None = None
) -> Tensor:
    """activation(norm(x) + residual), fused where that can be."""
    known = None if activation is None else recognise(activation)
    constants = {} if known is None else dict(known[1])
    declared = None if known is None else known[0]
    reason = _why_unsuited(norm, activation, declared)
    settings = None if reason else _settings(norm)
    if settings is not None:
        reason = why_not(x, settings, declared, constants, residual)
    if settings is not None and reason is None:
        if norm.training and norm.num_batches_tracked is not None:
            norm.num_batches_tracked.add_(1)
        numbers = {name: float(value) for name, value in constants.items()}
        y, second = norm_activation(x, settings, declared, numbers, residual)
        if not torch.compiler.is_compiling():
            y.second_name = (second, y._version)  # type: ignore[attr-defined]
        return y
    assert reason is not None
    say_once(reason)
    plain: Tensor = norm(x)
    if residual is not None:
        plain = plain + residual
    return plain if activation is None else cast(Tensor, activation(plain))


def _why_unsuited(norm: nn.BatchNorm2d, activation: nn.Module | None, declared: Activation | None) -> str | None:
    """Return what speaks against fusing these modules, whatever comes in."""
    if any(_has_hooks(module) for module in (norm, activation) if module is not None):
        return "somebody watches the modules"
    if torch.compiler.is_compiling():
        if norm.momentum is None:
            return "torch.compile cannot read the number of batches of a cumulative average"
        if declared is not None and not is_catalogued(declared):
            return "the activation is not in the catalogue, where an operator would look for it"
    return None


def _second_name(x: Tensor) -> Tensor:
    """Return the other name of a map that a fused operation made, so that its two gradients arrive apart; else x.

    A map that somebody has changed in place since is no longer what the other name stands for.
    """
    if torch.compiler.is_compiling():
        return x
    found: tuple[Tensor, int | None] = getattr(x, "second_name", (x, None))
    second, version = found
    return second if version == x._version else x


def _settings(norm: nn.BatchNorm2d) -> Normalisation:
    by_batch = norm.training or norm.running_mean is None
    momentum = norm.momentum
    if momentum is None:  # a cumulative average
        assert norm.num_batches_tracked is not None
        momentum = 1.0 / float(norm.num_batches_tracked + 1)
    running = (norm.running_mean, norm.running_var) if norm.track_running_stats else (None, None)
    return Normalisation(norm.weight, norm.bias, *running, momentum, norm.eps, by_batch)


def _has_hooks(module: nn.Module) -> bool:
    return bool(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    )
