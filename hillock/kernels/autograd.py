"""What autograd sees: φ with its declared derivative, to any order, under every transform.

    order 0   y = φ(x)               one kernel
    order 1   dx = g · φ'(x)         one kernel, one rounding; φ' is the declaration's slope, never autograd's guess
    order 2+  d(g·φ'(x))/dx          torch's own autograd through the declaration's slope expression in float64

Two pairs of `torch.autograd.Function` do the same. `_Eager` is quick to call; `_Transformable` adds `setup_context`,
`vmap` and `jvp`, which functorch and forward-mode need (inspecting their signatures costs torch some 20 µs a call).

Parameters that are tensors get gradients through the float64 composite; x itself always goes through the slope.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from hillock.kernels import reference
from hillock.kernels.bound import Bound, is_opaque
from hillock.kernels.notebook import is_remade

__all__ = ["apply_eager", "apply_transformable"]


def apply_eager(bound: Bound, x: Tensor, *tensors: Tensor) -> Tensor:
    """Return φ(x) with reverse-mode autograd of any order; outside functorch and forward-mode levels only."""
    return _call_eager(bound, x, *tensors)


def apply_transformable(bound: Bound, x: Tensor) -> Tensor:
    """Return φ(x) under any stack of grad, vjp, jvp, vmap levels, plain autograd included."""
    return _Transformable.apply(bound, x)  # type: ignore[no-any-return, no-untyped-call]


def transforms_are_active() -> bool:
    """Whether some functorch transform or a forward-mode level is running, so that tensors may carry more than data."""
    return torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0


def _times_slope(bound: Bound, gradient: Tensor, x: Tensor, *tensors: Tensor) -> Tensor:
    """Return gradient · φ'(x), differentiable again where somebody may ask."""
    if transforms_are_active():
        return _TransformableSlope.apply(bound, gradient, x)  # type: ignore[no-any-return, no-untyped-call]
    if torch.is_grad_enabled() and (gradient.requires_grad or x.requires_grad):
        return _EagerSlope.apply(bound, gradient, x, *tensors)  # type: ignore[no-any-return, no-untyped-call]
    return bound.backward(gradient, x, *tensors)


class _Eager(Function):
    @staticmethod
    def forward(ctx: Any, bound: Bound, x: Tensor, *tensors: Tensor) -> Tensor:
        ctx.bound = bound
        # A recipe for x makes keeping x free; then there is nothing to gain from bits.
        bits = None if bound.plan.kind == "input" or is_opaque(x) or is_remade(x) else bound.plan.keep(x)
        ctx.geometry = None if bits is None else bits.geometry
        ctx.save_for_backward(x if bits is None else bits.packed, *tensors)
        return bound.forward(x, *tensors)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, *tensors = ctx.saved_tensors
        if ctx.geometry is not None:
            if not torch.is_grad_enabled() and not transforms_are_active():
                return (None, ctx.bound.backward_of_bits(gradient, x, ctx.geometry))
            x = ctx.bound.plan.stand_in(x, ctx.geometry)
        _, wants_x, *wants = ctx.needs_input_grad
        dx = _times_slope(ctx.bound, gradient, x, *tensors) if wants_x else None
        if not any(wants):
            return (None, dx, *(None for _ in tensors))
        return (None, dx, *_parameter_gradients(ctx.bound, gradient, x, tensors, wants))


# Function.apply in Python asks whether functorch is active, which is known here; this is the C function it ends in.
_call_eager: Callable[..., Tensor] = super(Function, _Eager).apply


class _EagerSlope(Function):
    @staticmethod
    def forward(ctx: Any, bound: Bound, gradient: Tensor, x: Tensor, *tensors: Tensor) -> Tensor:
        ctx.bound = bound
        ctx.save_for_backward(gradient, x, *tensors)
        return bound.backward(gradient, x, *tensors)

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        gradient, x, *tensors = ctx.saved_tensors
        _, wants_gradient, *wants = ctx.needs_input_grad
        d_gradient = _times_slope(ctx.bound, outer, x, *tensors) if wants_gradient else None
        if not any(wants):
            return (None, d_gradient, *(None for _ in wants))
        constants = ctx.bound.constants
        found = _pull_back(
            lambda x, *tensors: reference.composite_slope_beside_zero(ctx.bound.activation, x, constants(tensors)),
            outer * gradient,
            (x, *tensors),
            wants,
        )
        return (None, d_gradient, *found)


def _parameter_gradients(
    bound: Bound, gradient: Tensor, x: Tensor, tensors: list[Tensor], wants: list[bool]
) -> list[Tensor | None]:
    """Return the gradients of the parameters that are tensors, by autograd through the float64 composite."""
    return _pull_back(
        lambda *tensors: reference.composite(bound.activation, x, bound.constants(tensors)),
        gradient,
        tuple(tensors),
        wants,
    )


def _pull_back(expression: Any, gradient: Tensor, inputs: tuple[Tensor, ...], wants: list[bool]) -> list[Tensor | None]:
    """Return the vector-Jacobian products of `expression` for the wanted inputs; differentiable if grad mode is on."""
    if transforms_are_active():
        pull = torch.func.vjp(expression, *inputs)[1]
        return [found if wanted else None for found, wanted in zip(pull(gradient), wants, strict=True)]
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        if not again:
            inputs = tuple(tensor.detach().requires_grad_(wanted) for tensor, wanted in zip(inputs, wants, strict=True))
        else:  # a view of each, so that the search below stops here and not at what the inputs were made from
            inputs = tuple(tensor.view_as(tensor) for tensor in inputs)
        result = expression(*inputs)
        asked = [tensor for tensor, wanted in zip(inputs, wants, strict=True) if wanted]
        if not result.requires_grad:  # the expression is constant in them
            return [torch.zeros_like(tensor) if wanted else None for tensor, wanted in zip(inputs, wants, strict=True)]
        found = iter(torch.autograd.grad(result, asked, gradient, create_graph=again, materialize_grads=True))
    return [next(found) if wanted else None for wanted in wants]


class _Transformable(Function):
    @staticmethod
    def forward(bound: Bound, x: Tensor) -> Tensor:
        return bound.forward(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Bound, Tensor], output: Tensor) -> None:
        ctx.bound, x = inputs
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        return None, _times_slope(ctx.bound, gradient, ctx.saved_tensors[0])

    @staticmethod
    def jvp(ctx: Any, _: None, tangent: Tensor) -> Tensor:
        return _times_slope(ctx.bound, tangent, ctx.saved_tensors[0])

    @staticmethod
    def vmap(info: Any, in_dims: tuple[None, int | None], bound: Bound, x: Tensor) -> tuple[Tensor, int | None]:
        return _Transformable.apply(bound, x), in_dims[1]  # type: ignore[no-untyped-call]


class _TransformableSlope(Function):
    @staticmethod
    def forward(bound: Bound, gradient: Tensor, x: Tensor) -> Tensor:
        return bound.backward(gradient, x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Bound, Tensor, Tensor], output: Tensor) -> None:
        ctx.bound, gradient, x = inputs
        ctx.save_for_backward(gradient, x)
        ctx.save_for_forward(gradient, x)

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[None, Tensor, Tensor]:
        gradient, x = ctx.saved_tensors
        return None, _times_slope(ctx.bound, outer, x), _times_curvature(ctx.bound, outer * gradient, x)

    @staticmethod
    def jvp(ctx: Any, _: None, gradient_tangent: Tensor, x_tangent: Tensor) -> Tensor:
        gradient, x = ctx.saved_tensors
        first = _times_slope(ctx.bound, gradient_tangent, x)
        return first + _times_curvature(ctx.bound, gradient * x_tangent, x)

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[None, int | None, int | None], bound: Bound, gradient: Tensor, x: Tensor
    ) -> tuple[Tensor, int]:
        # Only the batch dimension may be missing; after moving it to the front both have one shape.
        _, gradient_dim, x_dim = in_dims
        gradient = (
            gradient.expand(info.batch_size, *gradient.shape)
            if gradient_dim is None
            else gradient.movedim(gradient_dim, 0)
        )
        x = x.expand(info.batch_size, *x.shape) if x_dim is None else x.movedim(x_dim, 0)
        return _TransformableSlope.apply(bound, gradient, x), 0  # type: ignore[no-untyped-call]


def _times_curvature(bound: Bound, factor: Tensor, x: Tensor) -> Tensor:
    """Return factor · φ''(x) by torch's autograd through the declaration's slope, in float64."""
    found = _pull_back(
        lambda x: reference.composite_slope_beside_zero(bound.activation, x, bound.constants()), factor, (x,), [True]
    )
    assert found[0] is not None
    return found[0]
