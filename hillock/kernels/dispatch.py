"""The door: `apply` and `slope` look at the tensor and hand it to the path that is right for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
import torch.fx
from torch import Tensor
from torch.autograd import forward_ad
from torch.compiler import is_dynamo_compiling
from torch.overrides import handle_torch_function, has_torch_function_unary

from hillock.kernels import autograd, compiled, native, reference, setting
from hillock.kernels.bound import bind

if TYPE_CHECKING:
    from hillock.activations import Activation

__all__ = ["apply", "settled", "slope"]

_transforms_active = torch._C._are_functorch_transforms_active
_dispatch_modes = torch._C._len_torch_dispatch_stack


_QUICK: dict[object, Mapping[torch.dtype, native.Calls]] = {}
"""Activation (with its numbers, if it has any) -> its native calls by dtype, at the precision of the moment."""
setting.current.when_changed.append(_QUICK.clear)


def apply(activation: Activation, x: Tensor, constants: Mapping[str, float | Tensor]) -> Tensor:
    """Return φ(x) in the shape, dtype and layout of `x`, differentiable to any order in `x` and in learned parameters.

    Args:
        activation: the declaration; names are turned into declarations further up.
        x: any shape, any floating dtype, any device, any layout (strided, channels-last, 0-d, empty, meta). Autocast
            changes nothing: the dtype of `x` is kept.
        constants: a value for every parameter (`activation.constants(...)`): numbers, or tensors that broadcast against
            `x` (a learned slope per channel of [N, C, H, W] is given as [C, 1, 1]).

    Inside `torch.compile` and `torch.export` the declaration's own expressions are traced, so they fuse with their
    neighbours. A tensor subclass is left alone: its `__torch_function__` and `__torch_dispatch__` see torch operations.

    Example: (see `hillock.functional`, whose functions end here)
    """
    y = _quickly((activation, *constants.items()) if constants else activation, x)
    return _apply(activation, x, constants) if y is None else y


def settled(activation: Activation, constants: Mapping[str, float]) -> Callable[[Tensor], Tensor]:
    """Return x -> apply(activation, x, constants), whose call is as short as that of `apply` itself."""
    key = (activation, *constants.items()) if constants else activation

    def function(x: Tensor) -> Tensor:
        y = _quickly(key, x)
        return _apply(activation, x, constants) if y is None else y

    return function


def _quickly(key: object, x: Tensor) -> Tensor | None:
    """Return φ(x) in the common case: plain data, nobody differentiates, the native library has it. A dozen look-ups.

    Both doors come here. With the condition written out in each a plain function's call would take 1.41 of the time of
    torch's SiLU on 16 numbers (1.17 and 0.83 µs) instead of 1.44: 25 ns for saying it once (Xeon, torch 2.13, 31 rounds
    of 20,000 calls in turn).
    """
    if (
        not is_dynamo_compiling()
        and type(x) is Tensor
        and not x.requires_grad
        and x.is_cpu
        and not has_torch_function_unary(x)
        and not _transforms_active()
        and not _dispatch_modes()
        and forward_ad._current_level < 0
    ):
        calls = _QUICK.get(key)
        if calls is not None and (call := calls.get(x.dtype)) is not None:
            return call.forward(x)
    return None


def _apply(activation: Activation, x: Tensor, constants: Mapping[str, float | Tensor]) -> Tensor:
    if torch.compiler.is_compiling():
        return compiled.traced(activation, x, constants)
    symbol: Any = x
    if isinstance(symbol, torch.fx.Proxy):  # torch.fx writes calls down: this one stays one call
        written: Any = symbol.tracer.create_proxy("call_function", _Written(activation), (symbol,), dict(constants))
        return written  # type: ignore[no-any-return]
    if has_torch_function_unary(x):
        return handle_torch_function(apply, (x,), activation, x, constants)
    bound, tensors = bind(activation, constants)
    if autograd.transforms_are_active():
        if tensors:
            return reference.composite(activation, x, constants)
        return autograd.apply_transformable(bound, x)
    if torch.is_grad_enabled() and (x.requires_grad or any(tensor.requires_grad for tensor in tensors)):
        return autograd.apply_eager(bound, x, *tensors)
    if not tensors and bound.cpu:
        _QUICK[(activation, *constants.items()) if constants else activation] = bound.cpu
    return bound.forward(x, *tensors)


class _Written:
    """`apply` for one activation, as torch.fx puts it into a graph."""

    def __init__(self, activation: Activation) -> None:
        self.activation = activation
        self.__name__ = self.__qualname__ = f"apply_{activation.name}"

    def __call__(self, x: Tensor, **constants: float | Tensor) -> Tensor:
        return apply(self.activation, x, constants)


def slope(activation: Activation, x: Tensor, constants: Mapping[str, float | Tensor]) -> Tensor:
    """Return φ'(x) in the shape, dtype and layout of `x`; not differentiable. At a kink: the declared subgradient."""
    if torch.compiler.is_compiling():
        return compiled.traced_slope(activation, x, constants)
    bound, tensors = bind(activation, constants)
    return bound.slope(x, *tensors)
