"""The table of a network's layers: sizes, fields, parameters, connections, multiply-adds; for any `nn.Module`.

The network is run once on the meta device (shapes only, no arithmetic), with hooks on every layer. Products computed
outside of layers have rows of their own; an addition written as `+` has none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from hillock.errors import ModelError
from hillock.layers.initialisation import fans
from hillock.layers.local import LocallyConnected2d
from hillock.layers.maxout import Maxout
from hillock.layers.recognise import recognise
from hillock.layers.response_norm import MapNorm, ResponseNorm
from hillock.layers.shortcut import Addition, ScaledAddition
from hillock.networks.receptive_field import FieldTracker
from hillock.networks.saved_bytes import saved_bytes

__all__ = ["LayerTable", "Row", "summarise"]

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, LocallyConnected2d)
POOLINGS = (
    nn.MaxPool1d,
    nn.MaxPool2d,
    nn.MaxPool3d,
    nn.AvgPool1d,
    nn.AvgPool2d,
    nn.AvgPool3d,
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
)
NORMALISATIONS = (
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.LocalResponseNorm,
    ResponseNorm,
    MapNorm,
)
JOINING: dict[type[nn.Module], int] = {Addition: 1, ScaledAddition: 2}  # multiply-adds of each element
EXAMPLES = 2  # in the batch that is traced and run; batch normalisation needs more than one
TEXT_COLUMNS = 8  # of the table; the rest are numbers
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """One layer as it ran on one input.

    Attributes:
        name, type, kind: path of the module; its class; "convolution", "linear", "normalisation", "activation",
            "pooling", "joining", "other", or "outside" for what runs outside of any layer.
        kernel, stride, padding: per spatial direction, or None where the layer has none. groups: of a convolution.
        input, output: shapes of one example, without the batch.
        receptive_field: input pixels that one output depends on, per direction, padding included.
        parameters: learned numbers that the layer owns.
        connections: positions · (window · inputs of a group + 1) · outputs; with 1 only where there is a bias.
        multiply_adds: of one example, bias not counted; 1 for each element of an activation, 1 for each element of a
            normalisation (a scale and a shift) or an addition, 2 of a scaled one, window + 1 of a response
            normalisation, window of an average pooling.
        saved_bytes_eager, saved_bytes_lean: what backward needs of this layer for one example, without and with lean
            mode; None where not measured.
    """

    name: str
    type: str
    kind: str
    kernel: Shape | None
    stride: Shape | None
    padding: Shape | str | None
    groups: int | None
    input: Shape
    output: Shape
    receptive_field: Shape | None
    parameters: int
    connections: int
    multiply_adds: int
    saved_bytes_eager: int | None = None
    saved_bytes_lean: int | None = None


@dataclass(frozen=True)
class LayerTable:
    """The rows of a network in the order in which they ran.

    Attributes:
        parameters: of the whole network, those outside rows included.
        multiply_adds: of convolutional and linear layers, the figure that the literature quotes.
        multiply_adds_of_everything: with activations, normalisation and pooling.
        connections: of convolutional and linear layers.
    """

    network: str
    input_size: Shape
    rows: tuple[Row, ...]
    parameters: int

    @property
    def multiply_adds(self) -> int:
        return sum(row.multiply_adds for row in self.rows if row.kind in ("convolution", "linear"))

    @property
    def multiply_adds_of_everything(self) -> int:
        return sum(row.multiply_adds for row in self.rows)

    @property
    def connections(self) -> int:
        return sum(row.connections for row in self.rows)

    @property
    def saved_bytes_eager(self) -> int | None:
        return _sum(row.saved_bytes_eager for row in self.rows)

    @property
    def saved_bytes_lean(self) -> int | None:
        return _sum(row.saved_bytes_lean for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Return the table as JSON-ready values."""
        return {
            "network": self.network,
            "input_size": list(self.input_size),
            "parameters": self.parameters,
            "multiply_adds": self.multiply_adds,
            "multiply_adds_of_everything": self.multiply_adds_of_everything,
            "connections": self.connections,
            "saved_bytes_eager": self.saved_bytes_eager,
            "saved_bytes_lean": self.saved_bytes_lean,
            "rows": [asdict(row) for row in self.rows],
        }

    def cells(self) -> list[list[str]]:
        """Return header, rows and total as text, for terminals and pages."""
        measured = self.saved_bytes_eager is not None
        header = ["layer", "kind", "kernel", "stride", "padding", "input", "output", "field"]
        header += ["parameters", "connections", "multiply-adds", *(["kept", "kept lean"] if measured else [])]
        lines = [header]
        for row in self.rows:
            shapes = (row.kernel, row.stride, row.padding, row.input, row.output, row.receptive_field)
            numbers = [row.parameters, row.connections, row.multiply_adds]
            numbers += [row.saved_bytes_eager or 0, row.saved_bytes_lean or 0] if measured else []
            kind = row.kind if row.kind != "other" else row.type
            lines.append([row.name, kind, *(_times(shape) for shape in shapes), *(_grouped(n) for n in numbers)])
        numbers = [self.parameters, self.connections, self.multiply_adds_of_everything]
        numbers += [self.saved_bytes_eager or 0, self.saved_bytes_lean or 0] if measured else []
        total = ["total", "", "", "", "", _times(self.input_size), "", "", *(_grouped(n) for n in numbers)]
        return [*lines, total]

    def to_markdown(self) -> str:
        """Return the table in Markdown; the last row is the total."""
        header, *rest = self.cells()
        rule = ["---"] * TEXT_COLUMNS + ["--:"] * (len(header) - TEXT_COLUMNS)
        return "\n".join("| " + " | ".join(line) + " |" for line in [header, rule, *rest])


def summarise(model: nn.Module, input_size: Shape | None = None, *, memory: bool = False) -> LayerTable:
    """Return the layer table of any network for one input of `input_size` (channels, height, width).

    The network is left as it was: parameters and buffers are replaced by their shapes for the pass, and its mode is
    restored. `input_size` may be left out for hillock's own networks. With `memory` the network is also run for real,
    twice on two examples of zeros, to measure what the forward pass keeps for backward.

    >>> table = summarise(nn.Sequential(nn.Conv2d(3, 96, 11, 4), nn.ReLU()), (3, 227, 227))
    >>> table.rows[0].connections, table.multiply_adds, table.rows[1].receptive_field
    (105705600, 105415200, (11, 11))
    """
    size = input_size if input_size is not None else getattr(model, "input_size", None)
    if size is None:
        raise ModelError("an input size, for a network that does not know its own", got="none", instead="(3, 224, 224)")
    dtype, size = _input_dtype(model), tuple(size)
    rows = _trace(model, torch.empty(EXAMPLES, *size, dtype=dtype, device="meta"))
    if memory:
        rows = _with_memory(rows, model, torch.zeros(EXAMPLES, *size, dtype=dtype, device=_device(model)))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return LayerTable(str(getattr(model, "name", type(model).__name__)), size, tuple(rows), parameters)


def _trace(model: nn.Module, inputs: Tensor) -> list[Row]:
    """Run the network on shapes alone and return a row for every layer, and one for what runs outside of layers."""
    rows: list[Row] = []
    tracker = FieldTracker(inputs)
    modes = [(module, module.training) for module in model.modules()]
    hooks = []
    for name, module in model.named_modules():
        if is_layer(module):
            hooks += [
                module.register_forward_pre_hook(partial(_enter, tracker)),
                module.register_forward_hook(partial(_leave, tracker, rows, name)),
            ]
    tensors = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    try:
        model.eval()
        with torch.no_grad(), tracker:
            functional_call(model, {name: tensor.to("meta") for name, tensor in tensors}, (inputs,))
    except (RuntimeError, ValueError) as error:
        raise ModelError(
            f"an input that fits {type(model).__name__}", got=f"{tuple(inputs.shape[1:])} ({error})"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes:
            module.training = training
    return rows + _outside(model, rows, tracker)


def _enter(tracker: FieldTracker, module: nn.Module, given: Any) -> None:
    tracker.inside += 1


def _leave(tracker: FieldTracker, rows: list[Row], name: str, module: nn.Module, given: Any, output: Any) -> None:
    tracker.inside -= 1
    tensors = [value for value in given if isinstance(value, Tensor)]
    if tensors and isinstance(output, Tensor):
        _correct_field(tracker, module, tensors[0], output)
        field = tracker.of(output)
        rows.append(_row(name, module, tensors[0], output, None if field is None else field.field))


def _correct_field(tracker: FieldTracker, module: nn.Module, given: Tensor, output: Tensor) -> None:
    """Where a layer's own operations would mislead: windows over channels, kernels that differ at every position."""
    before = tracker.of(given)
    if before is not None and isinstance(module, LocallyConnected2d):
        tracker.put(output, before.window(module.kernel_size, 1, 1))
    elif before is not None and isinstance(module, ResponseNorm | nn.LocalResponseNorm):
        tracker.put(output, before)


def _outside(model: nn.Module, rows: list[Row], tracker: FieldTracker) -> list[Row]:
    """Return rows for parameters that no layer owns and for products that no layer computes (attention, `F.linear`)."""
    names = {row.name for row in rows}
    inside = {parameter for name, module in model.named_modules() if name in names for parameter in module.parameters()}
    free = sum(parameter.numel() for parameter in model.parameters() if parameter not in inside)
    none = dict.fromkeys(("kernel", "stride", "padding", "groups", "receptive_field"))
    empty = {**none, "input": (), "output": (), "connections": 0}
    extra = [
        Row(f"({name})", name, "outside", parameters=0, multiply_adds=count // EXAMPLES, **empty)  # type: ignore[arg-type]
        for name, count in tracker.outside.items()
        if count
    ]
    if free:
        extra.append(Row("(parameters)", "Parameter", "outside", parameters=free, multiply_adds=0, **empty))  # type: ignore[arg-type]
    return extra


def _with_memory(rows: list[Row], model: nn.Module, inputs: Tensor) -> list[Row]:
    eager, lean = (saved_bytes(model, inputs, lean=mode) for mode in (False, True))
    first = {
        row.name: index for index, row in reversed(list(enumerate(rows)))
    }  # a layer that runs twice: its first row
    measured = [
        replace(
            row,
            saved_bytes_eager=eager.get(row.name, 0) // EXAMPLES if first[row.name] == index else 0,
            saved_bytes_lean=lean.get(row.name, 0) // EXAMPLES if first[row.name] == index else 0,
        )
        for index, row in enumerate(rows)
    ]
    left = [sum(count for name, count in found.items() if name not in first) // EXAMPLES for found in (eager, lean)]
    if any(left):
        empty = {
            **dict.fromkeys(("kernel", "stride", "padding", "groups", "receptive_field")),
            "input": (),
            "output": (),
        }
        row = Row("(kept)", "", "outside", parameters=0, connections=0, multiply_adds=0, **empty)  # type: ignore[arg-type]
        measured.append(replace(row, saved_bytes_eager=left[0], saved_bytes_lean=left[1]))
    return measured


def _device(model: nn.Module) -> torch.device:
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    if device.type == "meta":
        raise ModelError("a network with memory of its own, to measure what it keeps", got="one on the meta device")
    return device


def _input_dtype(model: nn.Module) -> torch.dtype:
    """int64 for hillock's token networks, else the dtype of the parameters."""
    own = getattr(model, "input_dtype", torch.float32)
    floating = (parameter.dtype for parameter in model.parameters() if parameter.is_floating_point())
    return next(floating, torch.float32) if own == torch.float32 else own


def is_layer(module: nn.Module) -> bool:
    """Whether a module is a row of the table: an activation, or a module without children that computes something."""
    if recognise(module) is not None:
        return True
    return not any(True for _ in module.children()) and not isinstance(module, nn.Sequential | nn.Identity)


def _row(name: str, module: nn.Module, given: Tensor, output: Tensor, field: Shape | None) -> Row:
    kind = _kind(module)
    connections, multiply_adds = _work(module, kind, output)
    directions = given.dim() - 2
    return Row(
        name=name,
        type=type(module).__name__,
        kind=kind,
        kernel=_per_direction(getattr(module, "kernel_size", None), directions),
        stride=_per_direction(getattr(module, "stride", None), directions),
        padding=_per_direction(getattr(module, "padding", None), directions),
        groups=getattr(module, "groups", None),
        input=tuple(given.shape[1:]),
        output=tuple(output.shape[1:]),
        receptive_field=field,
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        connections=connections,
        multiply_adds=multiply_adds,
    )


def _kind(module: nn.Module) -> str:
    if isinstance(module, CONVOLUTIONS):
        return "convolution"
    if isinstance(module, nn.Linear):
        return "linear"
    if isinstance(module, NORMALISATIONS):
        return "normalisation"
    if isinstance(module, POOLINGS):
        return "pooling"
    if isinstance(module, tuple(JOINING)):
        return "joining"
    return "activation" if isinstance(module, Maxout) or recognise(module) is not None else "other"


def _work(module: nn.Module, kind: str, output: Tensor) -> tuple[int, int]:
    """Return (connections, multiply-adds) for one example."""
    elements = output[0].numel()
    if kind in ("convolution", "linear"):
        weight, biased = module.weight, getattr(module, "bias", None) is not None
        assert isinstance(weight, Tensor)
        sums = elements * fans(module).fan_in
        return sums + (elements if biased else 0), sums
    if isinstance(module, ResponseNorm | nn.LocalResponseNorm):
        return 0, elements * (int(module.size) + 1)
    if isinstance(module, MapNorm):
        return 0, elements * (module.size**2 + 1)
    if kind == "pooling" and "Avg" in type(module).__name__:
        kernel = getattr(module, "kernel_size", None)
        return 0, elements * (math.prod(_per_direction(kernel, output.dim() - 2) or ()) if kernel else 1)
    if kind == "joining":
        return 0, elements * JOINING[type(module)]
    return 0, elements if kind in ("activation", "normalisation") else 0


def _per_direction(value: Any, dimensions: int) -> Any:
    if value is None or isinstance(value, str):
        return value
    return tuple(value) if isinstance(value, tuple | list) else (int(value),) * dimensions


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _times(value: Shape | str | None) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else "×".join(map(str, value))


def _grouped(number: int) -> str:
    return f"{number:,}" if number else ""
