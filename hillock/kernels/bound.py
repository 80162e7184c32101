"""An activation with its numbers filled in, and the choice of the path that computes it.

    Bound(activation, floats, precision)
        .forward(x)  .backward(g, x)  .slope(x)     plain tensors in, plain tensors out, no autograd

The paths, in the order in which they are asked: the native library (CPU, where it supports the function and dtype), a
fused Triton kernel (CUDA), the reference. `Bound.path(dtype, device)` says which one answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hillock.kernels import reference, setting
from hillock.kernels.setting import Precision

if TYPE_CHECKING:
    from hillock.activations import Activation

__all__ = ["Bound", "bind", "is_opaque"]

_PLAIN = frozenset({Tensor, torch.nn.Parameter, torch.nn.Buffer})


def is_opaque(x: Tensor) -> bool:
    """Whether `x` is more than data: a subclass, or watched by a dispatch mode. It must see torch operations only."""
    return (
        type(x) not in _PLAIN
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._functorch.is_legacy_batchedtensor(x)  # autograd.grad(..., is_grads_batched=True)
    )


class Bound:
    """An activation with numbers for its parameters.

    Parameters that are tensors (learned ones) are not part of it: they are handed to the calls, in the order of
    `tensor_names`, because autograd has to see them.
    """

    __slots__ = ("activation", "floats", "precision", "tensor_names")

    def __init__(
        self, activation: Activation, floats: Mapping[str, float], tensor_names: tuple[str, ...], precision: Precision
    ) -> None:
        self.activation = activation
        self.floats = floats
        self.tensor_names = tensor_names
        self.precision = precision

    def constants(self, tensors: tuple[Tensor, ...] = ()) -> dict[str, float | Tensor]:
        """Return all parameters by name."""
        return {**self.floats, **dict(zip(self.tensor_names, tensors, strict=True))}

    def forward(self, x: Tensor, *tensors: Tensor) -> Tensor:
        """Return φ(x), without autograd."""
        if is_opaque(x):
            return reference.composite(self.activation, x, self.constants(tensors))
        return reference.forward(self.activation, x, self.constants(tensors))

    def backward(self, gradient: Tensor, x: Tensor, *tensors: Tensor) -> Tensor:
        """Return gradient · φ'(x) in the dtype of `x`, rounded once, without autograd."""
        if is_opaque(x) or is_opaque(gradient):
            return gradient * reference.composite_slope(self.activation, x, self.constants(tensors))
        return reference.backward(self.activation, gradient, x, self.constants(tensors))

    def slope(self, x: Tensor, *tensors: Tensor) -> Tensor:
        """Return φ'(x), without autograd."""
        if is_opaque(x):
            return reference.composite_slope(self.activation, x, self.constants(tensors))
        return reference.slope(self.activation, x, self.constants(tensors))


_KNOWN: dict[tuple[object, ...], Bound] = {}


def bind(activation: Activation, constants: Mapping[str, float | Tensor]) -> tuple[Bound, tuple[Tensor, ...]]:
    """Return the bound activation and the parameters that are tensors, in the order that the bound one expects.

    Bound activations without tensors are kept, so that a call finds its kernel by one look-up.
    """
    precision = setting.current.precision
    names = tuple(name for name, value in constants.items() if isinstance(value, Tensor))
    key = (activation, precision, names, *((name, value) for name, value in constants.items() if name not in names))
    bound = _KNOWN.get(key)
    if bound is None:
        floats = {name: float(value) for name, value in constants.items() if name not in names}
        bound = _KNOWN[key] = Bound(activation, floats, names, precision)
    return bound, tuple(constants[name] for name in names)  # type: ignore[misc]
