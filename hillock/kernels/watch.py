"""Which functions lean mode knows how to repeat to the bit, and how it sees them called.

`Watch` is a torch function mode: every call of a torch function, or of `kernels.apply`, passes through it while lean
mode is on. Normalisations and out-of-place activations leave a recipe behind; everything else is only passed on.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from hillock.kernels import dispatch
from hillock.kernels.bound import bind
from hillock.kernels.notebook import is_remade, remember

__all__ = ["Watch"]


class Watch(TorchFunctionMode):
    """Passes every call on, and notes the recipe of what it returns where one is known."""

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if torch.compiler.is_compiling():
            return function(*args, **kwargs)
        if function is F.batch_norm:
            return _batch_norm(*args, **kwargs)
        note = _NOTES.get(function)
        result = function(*args, **kwargs)
        if note is not None and isinstance(result, Tensor) and result.requires_grad and _may_be_noted(result):
            note(function, result, *args, **kwargs)
        return result


def _may_be_noted(result: Tensor) -> bool:
    return type(result) is Tensor and not torch._C._are_functorch_transforms_active()


def _note_apply(function: Any, result: Tensor, activation: Any, x: Tensor, constants: Mapping[str, Any]) -> None:
    bound, tensors = bind(activation, constants)
    if bound.plan.kind != "input" and not is_remade(x):
        return  # it keeps bits instead of x: to keep x for the sake of the result would gain nothing
    remember(result, bound.forward, x, *tensors)


def _note_activation(function: Any, result: Tensor, x: Tensor, *args: Any, **kwargs: Any) -> None:
    """torch's own activations that keep their input; an in-place call has no input left to repeat it from."""
    if result.untyped_storage()._cdata != x.untyped_storage()._cdata:
        remember(result, lambda x: function(x, *args, **kwargs), x)


def _note_batch_norm(
    result: Tensor,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor,
    inverse_deviation: Tensor,
) -> None:
    """A batch normalisation is an affine map per channel once its statistics are known, which autograd keeps anyway."""
    scale = inverse_deviation if weight is None else inverse_deviation * weight.detach()
    inputs = [x, mean, scale] if bias is None else [x, mean, scale, bias]
    if _repeats("batch_norm", _normalise, inputs, result):
        remember(result, _normalise, *inputs)


def _batch_norm(*args: Any, **kwargs: Any) -> Tensor:
    """`F.batch_norm` by the operator in which it ends on the CPU, which hands out the statistics."""
    given = _BATCH_NORM.bind(*args, **kwargs)
    given.apply_defaults()
    x, running_mean, running_var, weight, bias, training, momentum, epsilon = given.arguments.values()
    if not training or not x.is_cpu or not torch.is_grad_enabled():
        return F.batch_norm(*args, **kwargs)
    F._verify_batch_size(x.size())  # type: ignore[attr-defined]  # torch's own check, missing from its stubs
    result, mean, inverse_deviation = torch.native_batch_norm(
        x, weight, bias, running_mean, running_var, True, momentum, epsilon
    )
    if result.requires_grad and _may_be_noted(result):
        _note_batch_norm(result, x, weight, bias, mean, inverse_deviation)
    return result


def _normalise(x: Tensor, mean: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return (x - mean)·scale + bias per channel by the kernel that batch normalisation uses, so with the same bits.

    The kernel multiplies x by (1/√(1 + 0))·scale and adds bias - mean·scale: with a variance of one and no epsilon it
    computes from `scale` what it computed in training from 1/√(variance + epsilon)·weight.
    """
    return torch.native_batch_norm(x, scale, bias, mean, torch.ones_like(mean), False, 0.0, 0.0)[0]


def _note_repeatable(function: Any, result: Tensor, x: Tensor, *args: Any, **kwargs: Any) -> None:
    """Normalisations over one sample: cheap enough to repeat whole."""
    tensors = {key: value for key, value in [*enumerate(args), *kwargs.items()] if isinstance(value, Tensor)}

    def make(x: Tensor, *values: Tensor) -> Tensor:
        now = dict(zip(tensors, values, strict=True))
        return function(  # type: ignore[no-any-return]
            x,
            *(now.get(position, value) for position, value in enumerate(args)),
            **{name: now.get(name, value) for name, value in kwargs.items()},
        )

    inputs = [x, *tensors.values()]
    if _repeats(str(function), make, inputs, result):
        remember(result, make, *inputs)


_PROVEN: dict[tuple[object, ...], bool] = {}


def _repeats(what: str, make: Callable[..., Tensor], inputs: list[Tensor], result: Tensor) -> bool:
    """Whether `make` repeats the result to the bit: tried once per dtype, device, layout and number of threads."""
    order = tuple(sorted(range(result.dim()), key=result.stride))
    key = (what, len(inputs), *(part.dtype for part in inputs), result.device, order, torch.get_num_threads())
    if key not in _PROVEN:
        with torch.no_grad():
            again = make(*inputs)
            _PROVEN[key] = again.stride() == result.stride() and bool(
                torch.equal(again.nan_to_num(), result.nan_to_num()) and torch.equal(again.isnan(), result.isnan())
            )
    return _PROVEN[key]


_BATCH_NORM = inspect.signature(F.batch_norm)

_NOTES: dict[Any, Callable[..., None]] = {
    dispatch.apply: _note_apply,
    F.layer_norm: _note_repeatable,
    F.group_norm: _note_repeatable,
    F.rms_norm: _note_repeatable,
    **dict.fromkeys(
        (
            F.celu,
            F.elu,
            F.gelu,
            F.hardsigmoid,
            F.hardswish,
            F.hardtanh,
            F.leaky_relu,
            F.logsigmoid,
            F.mish,
            F.relu6,
            F.selu,
            F.silu,
            F.softplus,
        ),
        _note_activation,
    ),
}
