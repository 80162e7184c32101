"""How far an activity sees: receptive fields followed through a network, operation by operation.

Along each spatial direction a tensor has a field (how many input pixels one of its positions depends on) and a step
(how many input pixels lie between neighbours). A window of k positions, dilated by d and moved by s, makes of
(field, step)

    (field + (k - 1) · d · step,  step · s).

Where paths meet, the larger of both counts. What flattens or averages all of n positions sees field + (n - 1) · step
and has step 0; attention sees the whole picture. Fields are those of the arithmetic: padding can make them larger than
the picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

__all__ = ["Field", "FieldTracker"]

aten = torch.ops.aten
WINDOWED = {  # operation -> positions of kernel, stride and dilation among its arguments
    aten.convolution.default: (None, 3, 5),
    aten.max_pool2d_with_indices.default: (1, 2, 4),
    aten.max_pool3d_with_indices.default: (1, 2, 4),
    aten.avg_pool2d.default: (1, 2, None),
    aten.avg_pool3d.default: (1, 2, None),
    aten.im2col.default: (1, 4, 2),
}
MIXING = {aten.bmm.default, aten.baddbmm.default}  # of two tensors from the picture: attention


@dataclass(frozen=True)
class Field:
    """(field, step) in input pixels along each spatial direction."""

    field: tuple[int, ...]
    step: tuple[int, ...]

    def window(self, kernel: Any, stride: Any, dilation: Any) -> Field:
        directions = len(self.field)
        k, s, d = (_each(value, directions) for value in (kernel, stride, dilation))
        field = tuple(self.field[i] + (k[i] - 1) * d[i] * self.step[i] for i in range(directions))
        return Field(field, tuple(self.step[i] * s[i] for i in range(directions)))

    def all_of(self, sides: tuple[int, ...]) -> Field:
        """The field of something that sees every one of `sides` positions."""
        return Field(self.window(sides, 1, 1).field, (0,) * len(sides))

    def joined(self, other: Field) -> Field:
        if len(self.field) != len(other.field):
            return self if math.prod(self.field) >= math.prod(other.field) else other
        return Field(tuple(map(max, self.field, other.field)), tuple(map(max, self.step, other.step)))


class FieldTracker(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows the fields of all tensors of one pass, and counts the products that run outside of layers.

    Attributes:
        inside: how many layers are running; the caller's hooks count it up and down.
        outside: multiply-adds of products computed outside of any layer, by operation.
    """

    def __init__(self, picture: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        directions = picture.dim() - 2
        self._fields: dict[int, Field] = {}
        self._alive: list[Tensor] = [picture]  # ids are unique only while the tensors live
        self.inside = 0
        self.outside: dict[str, int] = {}
        if directions > 0:
            self._fields[id(picture)] = Field((1,) * directions, (1,) * directions)
        self._whole = Field(tuple(picture.shape[2:]), (0,) * directions)

    def of(self, tensor: Tensor) -> Field | None:
        return self._fields.get(id(tensor))

    def put(self, tensor: Tensor, field: Field) -> None:
        self._alive.append(tensor)
        self._fields[id(tensor)] = field

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = function(*args, **(kwargs or {}))
        if not self.inside and function.overloadpacket in flop_registry:
            count = flop_registry[function.overloadpacket](*args, **(kwargs or {}), out_val=output) // 2
            name = function.overloadpacket.__name__
            self.outside[name] = self.outside.get(name, 0) + count
        known = [(tensor, self.of(tensor)) for tensor in tree_leaves(args) if isinstance(tensor, Tensor)]
        fields = [(tensor, field) for tensor, field in known if field is not None]
        results = [tensor for tensor in tree_leaves(output) if isinstance(tensor, Tensor)]
        if fields and results:
            field = fields[0][1]
            for _, other in fields[1:]:
                field = field.joined(other)
            whole = function in MIXING and len(fields) > 1
            field = self._whole if whole else _after(function, args, fields[0][0], results[0], field)
            for result in results:
                self.put(result, field)
        return output


def _after(function: Any, args: Any, source: Tensor, result: Tensor, field: Field) -> Field:
    directions = len(field.field)
    sides = tuple(source.shape[2:])
    if function in WINDOWED:
        kernel_at, stride_at, dilation_at = WINDOWED[function]
        kernel = args[1].shape[2:] if kernel_at is None else args[kernel_at]
        stride = args[stride_at] if len(args) > stride_at and args[stride_at] else kernel
        dilation = args[dilation_at] if dilation_at is not None and len(args) > dilation_at else 1
        if function is aten.convolution.default and args[6]:  # transposed: positions become finer, not coarser
            finer = _each(stride, directions)
            return Field(field.field, tuple(max(1, field.step[i] // finer[i]) for i in range(directions)))
        return field.window(kernel, stride, dilation)
    if function is aten.slice.Tensor and len(args) > 4 and args[1] >= 2:
        moved = [1] * directions
        moved[min(args[1] - 2, directions - 1)] = args[4]
        return field.window(1, tuple(moved), 1)
    if function in (aten._adaptive_avg_pool2d.default, aten.adaptive_max_pool2d.default):
        counts = tuple(result.shape[2:])
        strides = tuple(max(1, sides[i] // counts[i]) for i in range(directions))
        windows = tuple(sides[i] - (counts[i] - 1) * strides[i] for i in range(directions))
        return field.window(windows, strides, 1) if max(counts) > 1 else field.all_of(sides)
    spatial_sides = len(sides) == directions and math.prod(sides) > 1
    pooled = function in (aten.mean.dim, aten.sum.dim_IntList) or result.dim() == 2
    return field.all_of(sides) if spatial_sides and pooled else field


def _each(value: Any, directions: int) -> tuple[int, ...]:
    values = tuple(value) if hasattr(value, "__len__") else (value,)
    return tuple(int(v) for v in (values if len(values) == directions else values[:1] * directions))
