"""The fused layers as operators of torch, for `torch.compile`: a tracer sees a call, its shapes and its derivative.

    hillock::norm_statistics           x -> mean and variance of each channel
    hillock::norm_activation           φ(normalised x + residual); differentiable
    hillock::norm_activation_backward  its gradients
    hillock::weight_gradient           of a 3x3 convolution; differentiable
    hillock::response_norm             across channels; differentiable
    hillock::response_norm_backward    its gradient
    hillock::max_pool                  result and the place of each in its window; differentiable
    hillock::max_pool_backward         its gradient

Only compiled code calls them, and only it imports this module: eager calls go through `autograd.Function`s, which cost
less. What a tracer can see through and Inductor does well stays plain torch: convolutions, running statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.library import custom_op

from hillock.activations.catalogue import find
from hillock.kernels import max_pool as pooling
from hillock.kernels import norm_passes, traced
from hillock.kernels import response_norm as responses
from hillock.kernels import weight_gradient as tiles

if TYPE_CHECKING:
    from hillock.activations import Activation
    from hillock.kernels.norm_activation import Normalisation

__all__ = [
    "convolution",
    "log_once",
    "max_pool",
    "missing_library",
    "missing_triton",
    "normalised",
    "response_norm",
    "tiles_are_there",
]


_Question = TypeVar("_Question", bound=Callable[..., Any])


def _answered_once(question: _Question) -> _Question:
    """Make the tracer ask once and take the answer for granted.

    What `torch.compiler.assume_constant_result` does, except that it imports the tracer, which sets an environment
    variable: importing hillock changes nothing.
    """
    question._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return question


# Questions that are answered once, while the tracer runs ------------------------------------------------------------


@_answered_once
def tiles_are_there() -> bool:
    """Whether the native weight gradient runs here."""
    return tiles.available()


missing_library = _answered_once(traced.missing_library)
missing_triton = _answered_once(traced.missing_triton)
log_once = _answered_once(traced.log_once)


# Normalisation + residual + activation ------------------------------------------------------------------------------


def normalised(
    x: Tensor,
    residual: Tensor | None,
    gamma: Tensor,
    beta: Tensor,
    norm: Normalisation,
    activation: Activation | None,
    constants: Mapping[str, float],
) -> Tensor:
    """Return φ(normalised x + residual) and move the running statistics: `norm_activation` for a tracer."""
    if norm.training:
        mean, variance = norm_statistics(x.detach()).unbind()
        norm.move_towards(mean, variance, x.numel() // x.shape[1])
    else:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        mean, variance = norm.running_mean, norm.running_var
    y: Tensor = norm_activation(
        x, residual, gamma, beta, mean, variance, norm.epsilon, norm.training, *_in_words(activation, constants)
    )
    return y


@custom_op("hillock::norm_statistics", mutates_args=())
def norm_statistics(x: Tensor) -> Tensor:
    """Return mean and biased variance of each channel, [2, channels], float32."""
    return norm_passes.statistics(_channels_last(x))


@norm_statistics.register_fake
def _(x: Tensor) -> Tensor:
    return x.new_empty(2, x.shape[1], dtype=torch.float32)


@custom_op("hillock::norm_activation", mutates_args=())
def norm_activation(
    x: Tensor,
    residual: Tensor | None,
    gamma: Tensor,
    beta: Tensor,
    mean: Tensor,
    variance: Tensor,
    epsilon: float,
    by_batch: bool,
    activation: str,
    constants: Sequence[float],
) -> Tensor:
    """Return φ(γ (x - mean) / √(variance + ε) + β + residual).

    by_batch: mean and variance are those of x, and the gradient of x runs through them; they get none themselves.
    """
    by = norm_passes.affine(gamma, beta, mean, variance, epsilon)
    residual = None if residual is None else _channels_last(residual)
    return norm_passes.forward(_channels_last(x), residual, by, *_in_objects(activation, constants))


@norm_activation.register_fake
def _(x: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(x, memory_format=torch.channels_last)


@custom_op("hillock::norm_activation_backward", mutates_args=())
def norm_activation_backward(
    dy: Tensor,
    x: Tensor,
    residual: Tensor | None,
    gamma: Tensor,
    beta: Tensor,
    mean: Tensor,
    variance: Tensor,
    epsilon: float,
    by_batch: bool,
    activation: str,
    constants: Sequence[float],
) -> list[Tensor]:
    """Return the gradients of x, γ, β and, where there is one, of the residual."""
    x, dy = _channels_last(x), _channels_last(dy.to(x.dtype))
    residual = None if residual is None else _channels_last(residual)
    by = norm_passes.affine(gamma, beta, mean, variance, epsilon)
    used = _in_objects(activation, constants)
    dx, d_residual, d_gamma, d_beta = norm_passes.backward(dy, None, x, residual, by, *used, by_batch)
    return [dx, d_gamma, d_beta, *([] if d_residual is None else [d_residual])]


@norm_activation_backward.register_fake
def _(dy: Tensor, x: Tensor, residual: Tensor | None, gamma: Tensor, *_: Any) -> list[Tensor]:
    maps = [torch.empty_like(x, memory_format=torch.channels_last) for _ in range(1 if residual is None else 2)]
    return [maps[0], torch.empty_like(gamma), torch.empty_like(gamma), *maps[1:]]


def _keep_for_norm(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:6])
    ctx.settings = inputs[6:]


def _norm_gradients(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    dx, d_gamma, d_beta, *d_residual = norm_activation_backward(dy, *ctx.saved_tensors, *ctx.settings)
    return dx, d_residual[0] if d_residual else None, d_gamma, d_beta, *(None,) * 6


norm_activation.register_autograd(_norm_gradients, setup_context=_keep_for_norm)


def _in_words(activation: Activation | None, constants: Mapping[str, float]) -> tuple[str, list[float]]:
    """Return an activation as an operator's schema can have it."""
    if activation is None:
        return "identity", []
    return activation.name, [float(constants[parameter.name]) for parameter in activation.parameters]


def _in_objects(name: str, numbers: Sequence[float]) -> tuple[Activation, dict[str, float]]:
    activation = find(name)
    return activation, {parameter.name: n for parameter, n in zip(activation.parameters, numbers, strict=True)}


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


# Convolution --------------------------------------------------------------------------------------------------------


def convolution(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Return the 3x3 convolution of stride 1 or 2 and padding 1, its weight gradient the native one: for a tracer."""
    y: Tensor = _Convolution.apply(x, weight, stride)  # type: ignore[no-untyped-call]
    return y


class _Convolution(tiles.Convolution):
    """The tracer sees torch's own convolution both ways, and one operator for the weight gradient."""

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight, rounded = ctx.saved_tensors
        wants_x, wants_weight, _ = ctx.needs_input_grad
        dx = _input_gradient(dy, x, rounded, ctx.stride) if wants_x else None
        return dx, weight_gradient(x, dy, weight, ctx.stride).to(weight.dtype) if wants_weight else None, None


@custom_op("hillock::weight_gradient", mutates_args=())
def weight_gradient(x: Tensor, dy: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Return the weight gradient of a 3x3 convolution of padding 1, float32, laid out as `weight` is."""
    return tiles.weight_gradient(_channels_last(x), _channels_last(dy), weight, stride)


@weight_gradient.register_fake
def _(x: Tensor, dy: Tensor, weight: Tensor, stride: int) -> Tensor:
    return torch.empty_like(weight, dtype=torch.float32)


def _keep_for_weight(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:2])
    ctx.stride = inputs[3]


def _weight_gradient_gradients(ctx: Any, outer: Tensor) -> tuple[Tensor, Tensor, None, None]:
    x, dy = ctx.saved_tensors  # the weight gradient is linear in both
    rounded = outer.to(x.dtype)
    d_dy = F.conv2d(x, rounded, None, stride=ctx.stride, padding=1)
    return _input_gradient(dy, x, rounded, ctx.stride), d_dy, None, None


weight_gradient.register_autograd(_weight_gradient_gradients, setup_context=_keep_for_weight)


def _input_gradient(dy: Tensor, x: Tensor, weight: Tensor, stride: int) -> Tensor:
    found = tiles.torch_gradients(dy, x, weight, stride, True, False)[0]
    assert found is not None
    return found


# Response normalisation ---------------------------------------------------------------------------------------------


@custom_op("hillock::response_norm", mutates_args=())
def response_norm(x: Tensor, size: int, alpha: float, beta: float, k: float, towers: int) -> Tensor:
    """Return the response-normalised map."""
    return responses.forward(_channels_last(x), responses.Window(size, alpha, beta, k, towers))


@response_norm.register_fake
def _(x: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(x, memory_format=torch.channels_last)


@custom_op("hillock::response_norm_backward", mutates_args=())
def response_norm_backward(
    dy: Tensor, x: Tensor, size: int, alpha: float, beta: float, k: float, towers: int
) -> Tensor:
    """Return the gradient of x."""
    window = responses.Window(size, alpha, beta, k, towers)
    return responses.backward(_channels_last(x), _channels_last(dy.to(x.dtype)), window)


@response_norm_backward.register_fake
def _(dy: Tensor, x: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(x, memory_format=torch.channels_last)


def _keep_for_response_norm(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[0])
    ctx.window = inputs[1:]


def _response_norm_gradient(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    return response_norm_backward(dy, *ctx.saved_tensors, *ctx.window), *(None,) * 5


response_norm.register_autograd(_response_norm_gradient, setup_context=_keep_for_response_norm)


# Max pooling --------------------------------------------------------------------------------------------------------


def max_pool(x: Tensor, side: int, stride: int, padding: int) -> Tensor:
    """Return the largest value of each square window: for a tracer."""
    y: Tensor = max_pool_with_places(x, side, stride, padding)[0]
    return y


@custom_op("hillock::max_pool", mutates_args=())
def max_pool_with_places(x: Tensor, side: int, stride: int, padding: int) -> tuple[Tensor, Tensor]:
    """Return the largest value of each window and, one byte each, where in the window it stood."""
    return pooling.largest(_channels_last(x), (side, stride, padding))


@max_pool_with_places.register_fake
def _(x: Tensor, side: int, stride: int, padding: int) -> tuple[Tensor, Tensor]:
    rows, columns = ((length + 2 * padding - side) // stride + 1 for length in x.shape[2:])
    y = x.new_empty((*x.shape[:2], rows, columns)).contiguous(memory_format=torch.channels_last)
    return y, torch.empty_like(y, dtype=torch.uint8)


@custom_op("hillock::max_pool_backward", mutates_args=())
def max_pool_backward(dy: Tensor, where: Tensor, shape: Sequence[int], side: int, stride: int, padding: int) -> Tensor:
    """Return the gradient of the input, which has that shape."""
    return pooling.scattered(_channels_last(dy), where, (side, stride, padding), torch.Size(shape))


@max_pool_backward.register_fake
def _(dy: Tensor, where: Tensor, shape: Sequence[int], *_: Any) -> Tensor:
    return dy.new_empty(shape).contiguous(memory_format=torch.channels_last)


def _keep_for_max_pool(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(output[1])
    ctx.window = (inputs[0].shape, *inputs[1:])


def _max_pool_gradient(ctx: Any, dy: Tensor, _: Tensor) -> tuple[Tensor, None, None, None]:
    return max_pool_backward(dy, *ctx.saved_tensors, *ctx.window), None, None, None


max_pool_with_places.register_autograd(_max_pool_gradient, setup_context=_keep_for_max_pool)
