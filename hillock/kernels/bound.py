"""An activation with its numbers filled in, and the choice of the path that computes it.

    Bound(activation, floats, precision)
        .forward(x)  .backward(g, x)  .slope(x)     plain tensors in, plain tensors out, no autograd

The paths, in the order in which they are asked: the native library (CPU, where it supports the function and dtype), a
fused Triton kernel (CUDA, numbers only), the reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hillock.activations.catalogue import is_catalogued
from hillock.kernels import native, reference, setting, triton_kernels
from hillock.kernels.plan import INPUT, Geometry, Plan, make_plan
from hillock.kernels.setting import Precision

if TYPE_CHECKING:
    from hillock.activations import Activation

__all__ = ["PLAIN", "Bound", "bind", "is_opaque"]

PLAIN = frozenset({Tensor, torch.nn.Parameter, torch.nn.Buffer})
"""The types whose data a kernel may read. Any other subclass keeps its meaning: it sees torch operations only."""


def is_opaque(x: Tensor) -> bool:
    """Whether `x` is more than data: a subclass, or watched by a dispatch mode. It must see torch operations only."""
    return (
        type(x) not in PLAIN
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._functorch.is_legacy_batchedtensor(x)  # autograd.grad(..., is_grads_batched=True)
    )


class Bound:
    """An activation with numbers for its parameters.

    Parameters that are tensors (learned ones) are not part of it: they are handed to the calls, in the order of
    `tensor_names`, because autograd has to see them.
    """

    __slots__ = ("_plan", "activation", "cpu", "floats", "precision", "tensor_names")

    def __init__(
        self, activation: Activation, floats: Mapping[str, float], tensor_names: tuple[str, ...], precision: Precision
    ) -> None:
        self.activation = activation
        self.floats = floats
        self.tensor_names = tensor_names
        self.precision = precision
        self.cpu: dict[torch.dtype, native.Calls] = {}
        """Calls into the native library by dtype, for the functions that it has; learned parameters look anew."""
        self._plan: Plan | None = None
        if not tensor_names and is_catalogued(activation):
            for dtype in native.DTYPES:
                if native.supports(activation.name, floats, dtype, "cpu"):
                    self.cpu[dtype] = native.bind(activation.name, floats, precision)

    @property
    def plan(self) -> Plan:
        """What backward keeps. Learned parameters need the input for their own gradients."""
        if self._plan is None:
            self._plan = INPUT if self.tensor_names else make_plan(self.activation, self.floats)
        return self._plan

    def constants(self, tensors: tuple[Tensor, ...] = ()) -> dict[str, float | Tensor]:
        """Return all parameters by name."""
        return {**self.floats, **dict(zip(self.tensor_names, tensors, strict=True))}

    def forward(self, x: Tensor, *tensors: Tensor) -> Tensor:
        """Return φ(x), without autograd."""
        if is_opaque(x):
            return reference.composite(self.activation, x, self.constants(tensors))
        calls = self._native(x, tensors)
        if calls is not None:
            return calls.forward(x)
        if self._is_for_triton(x):
            return triton_kernels.forward(self.activation, x, self.floats)
        return reference.forward(self.activation, x, self.constants(tensors))

    def backward(self, gradient: Tensor, x: Tensor, *tensors: Tensor) -> Tensor:
        """Return gradient · φ'(x) in the dtype of `x`, rounded once, without autograd."""
        if is_opaque(x) or is_opaque(gradient):
            return gradient * reference.composite_slope(self.activation, x, self.constants(tensors))
        calls = self._native(x, tensors)
        if calls is not None:
            return calls.backward(gradient, x)
        if self._is_for_triton(x):
            return triton_kernels.backward(self.activation, gradient, x, self.floats)
        return reference.backward(self.activation, gradient, x, self.constants(tensors))

    def backward_of_bits(self, gradient: Tensor, bits: Tensor, geometry: Geometry) -> Tensor:
        """Return gradient · φ'(x), without autograd, where `plan.keep` has kept bits of an x of that geometry."""
        if geometry.dtype in self.cpu and self.plan.region is not None and bits.is_cpu and not is_opaque(gradient):
            return native.backward_of_bits(
                self.activation.name, gradient, bits, self.plan.points, self.floats, self.precision,
                geometry.empty(bits.device),
            )  # fmt: skip
        return self.backward(gradient, self.plan.stand_in(bits, geometry))

    def slope(self, x: Tensor, *tensors: Tensor) -> Tensor:
        """Return φ'(x), without autograd."""
        if is_opaque(x):
            return reference.composite_slope(self.activation, x, self.constants(tensors))
        calls = self._native(x, tensors)
        if calls is not None:
            return calls.backward(torch.ones_like(x), x)
        if self._is_for_triton(x):
            return triton_kernels.backward(self.activation, torch.ones_like(x), x, self.floats)
        return reference.slope(self.activation, x, self.constants(tensors))

    def _is_for_triton(self, x: Tensor) -> bool:
        return x.is_cuda and not self.tensor_names and triton_kernels.available()

    def _native(self, x: Tensor, tensors: tuple[Tensor, ...]) -> native.Calls | None:
        if not x.is_cpu:
            return None
        if not tensors:
            return self.cpu.get(x.dtype)
        if not is_catalogued(self.activation) or any(tensor.numel() > 1 for tensor in tensors):
            return None
        numbers = {**self.floats, **{name: float(t) for name, t in zip(self.tensor_names, tensors, strict=True)}}
        if not native.supports(self.activation.name, numbers, x.dtype, "cpu"):
            return None
        return native.bind(self.activation.name, numbers, self.precision)


_KNOWN: dict[tuple[object, ...], Bound] = {}


def bind(activation: Activation, constants: Mapping[str, float | Tensor]) -> tuple[Bound, tuple[Tensor, ...]]:
    """Return the bound activation and the parameters that are tensors, in the order that the bound one expects.

    Bound activations are kept, so that a call finds its kernel by one look-up.
    """
    tensors = {name: value for name, value in constants.items() if isinstance(value, Tensor)}
    names = tuple(tensors)
    numbers = [(name, value) for name, value in constants.items() if not isinstance(value, Tensor)]
    key = (activation, setting.current.precision, names, *numbers)
    bound = _KNOWN.get(key)
    if bound is None:
        floats = {name: float(value) for name, value in numbers}
        bound = _KNOWN[key] = Bound(activation, floats, names, setting.current.precision)
    return bound, tuple(tensors.values())
