"""Inside torch.compile and torch.export: the declaration's own expressions are traced, nothing opaque.

Inductor then fuses the activation with its neighbours, and the min-cut partitioner chooses what backward keeps. Three
things are arranged here so that what comes out is right:

* the derivative is the declared slope, by a Function *without* `jvp` (Dynamo refuses one with it under fullgraph);
* under `torch.func` levels Dynamo ignores a Function's backward and differentiates what it sees, so there the plain
  expression is given; declarations are written so that autograd's derivative of `value` is the declared one;
* 16-bit input is computed in float32 (float64 under `exact`), so that every compiler backend rounds once.

An opaque kernel would silently return wrong gradients under `torch.compile(torch.func.grad(...))` (PyTorch 2.13).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.overrides import TorchFunctionMode

from hillock.kernels import setting

if TYPE_CHECKING:
    from hillock.activations import Activation

__all__ = ["traced", "traced_slope"]


def traced(activation: Activation, x: Tensor, constants: Mapping[str, float | Tensor]) -> Tensor:
    """Return φ(x) for a tracer (Dynamo, export) to see through."""
    if (
        torch.compiler.is_exporting()
        or torch._C._are_functorch_transforms_active()
        or any(isinstance(value, Tensor) for value in constants.values())
    ):
        return _evaluate(activation.value, x, constants)
    return _Traced.apply(activation, constants, x)  # type: ignore[no-any-return, no-untyped-call]


def traced_slope(activation: Activation, x: Tensor, constants: Mapping[str, float | Tensor]) -> Tensor:
    """Return φ'(x) for a tracer to see through."""
    return _evaluate(activation.slope, x, constants)


class _Traced(Function):
    @staticmethod
    def forward(ctx: Any, activation: Activation, constants: Mapping[str, float], x: Tensor) -> Tensor:
        ctx.activation = activation
        ctx.constants = constants
        ctx.save_for_backward(x)
        return _evaluate(activation.value, x, constants)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, None, Tensor]:
        (x,) = ctx.saved_tensors
        wide = _wide(x.dtype)
        with _Surviving():
            slope = ctx.activation.slope(x.to(wide), **ctx.constants)
        return None, None, (gradient.to(wide) * slope).to(x.dtype)


def _evaluate(expression: Callable[..., Tensor], x: Tensor, constants: Mapping[str, Any]) -> Tensor:
    wide = _wide(x.dtype)
    widened = {name: value.to(wide) if isinstance(value, Tensor) else value for name, value in constants.items()}
    with _Surviving():
        return expression(x.to(wide), **widened).to(x.dtype)


class _Surviving(TorchFunctionMode):
    """Puts forms in place of functions that a compiler would turn into something inaccurate: expm1, so far."""

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if function in (torch.expm1, Tensor.expm1):
            return _exp_minus_one(args[0])
        return function(*args, **(kwargs or {}))


def _exp_minus_one(x: Tensor) -> Tensor:
    """Return e^x - 1 by its series for |x| < 1/2 and by the difference beyond.

    Inductor (2.13, CPU) computes expm1(x) as exp(x) - 1 everywhere, which loses every digit of a small x. The series is
    cut where the next term is below a quarter of a unit: (1/2)^8/9! = 1e-8 in float32, (1/2)^15/16! = 1e-18 in float64.
    """
    is_small = x.abs() < 0.5
    small = torch.where(is_small, x, torch.zeros_like(x))  # keeps the branch that is not taken finite
    terms = 15 if x.dtype is torch.float64 else 8
    series = torch.ones_like(x)
    for n in range(terms, 1, -1):
        series = 1 + series * small / n
    return torch.where(is_small, small * series, torch.exp(x) - 1)


def _wide(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype to compute in: the tracer fuses the casts, so they cost no memory."""
    if setting.current.precision == "exact":
        return torch.float64
    return torch.float32 if dtype in (torch.bfloat16, torch.float16) else dtype
