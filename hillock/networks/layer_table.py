"""The table of a network's layers: sizes, parameters, connections, multiply-adds; for any `nn.Module`.

The network is run once on the meta device (shapes only, no arithmetic), with a hook on every layer. What is computed
outside modules (an addition written as `+`) has no row.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from hillock.errors import ModelError
from hillock.layers.recognise import recognise
from hillock.layers.response_norm import MapNorm, ResponseNorm

__all__ = ["LayerTable", "Row", "summarise"]

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
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
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """One layer as it ran on one input.

    Attributes:
        name, type, kind: path of the module; its class; "convolution", "linear", "normalisation", "activation",
            "pooling" or "other".
        kernel, stride, padding: per spatial direction, or None where the layer has none. groups: of a convolution.
        input, output: shapes of one example, without the batch.
        parameters: learned numbers that the layer owns.
        connections: positions · (window · inputs of a group + 1) · outputs; with 1 only where there is a bias.
        multiply_adds: of one example, bias not counted; 1 for each element of an activation, 1 for each element of a
            normalisation (a scale and a shift), window + 1 of a response normalisation, window of an average pooling.
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
    parameters: int
    connections: int
    multiply_adds: int


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

    def to_dict(self) -> dict[str, Any]:
        """Return the table as JSON-ready values."""
        return {
            "network": self.network,
            "input_size": list(self.input_size),
            "parameters": self.parameters,
            "multiply_adds": self.multiply_adds,
            "multiply_adds_of_everything": self.multiply_adds_of_everything,
            "connections": self.connections,
            "rows": [asdict(row) for row in self.rows],
        }

    def cells(self) -> list[list[str]]:
        """Return header, rows and total as text, for terminals and pages."""
        header = ["layer", "kind", "kernel", "stride", "padding", "input", "output"]
        header += ["parameters", "connections", "multiply-adds"]
        lines = [header]
        for row in self.rows:
            lines.append(
                [
                    row.name,
                    row.kind if row.kind != "other" else row.type,
                    *(_times(field) for field in (row.kernel, row.stride, row.padding, row.input, row.output)),
                    *(_grouped(number) for number in (row.parameters, row.connections, row.multiply_adds)),
                ]
            )
        total = ["total", "", "", "", "", _times(self.input_size), ""]
        total += [_grouped(number) for number in (self.parameters, self.connections, self.multiply_adds_of_everything)]
        return [*lines, total]

    def to_markdown(self) -> str:
        """Return the table in Markdown; the last row is the total."""
        header, *rest = self.cells()
        rule = ["---"] * 7 + ["--:"] * (len(header) - 7)
        return "\n".join("| " + " | ".join(line) + " |" for line in [header, rule, *rest])


def summarise(model: nn.Module, input_size: Shape | None = None) -> LayerTable:
    """Return the layer table of any network for one input of `input_size` (channels, height, width).

    The network is left as it was: nothing is computed, no buffer moves, and its mode is restored. `input_size` may be
    left out for hillock's own networks.

    >>> table = summarise(nn.Sequential(nn.Conv2d(3, 96, 11, 4), nn.ReLU()), (3, 227, 227))
    >>> table.rows[0].connections, table.multiply_adds
    (105705600, 105415200)
    """
    size = input_size if input_size is not None else getattr(model, "input_size", None)
    if size is None:
        raise ModelError("an input size, for a network that does not know its own", got="none", instead="(3, 224, 224)")
    rows: list[Row] = []
    hooks = []
    for name, module in model.named_modules():
        if _is_layer(module):
            hooks.append(module.register_forward_hook(_recorder(rows, name)))
    modes = {module: module.training for module in model.modules()}
    state = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    try:
        model.eval()
        with torch.no_grad():
            meta = {name: value.to("meta") for name, value in state.items()}
            functional_call(model, meta, (torch.empty(2, *size, dtype=_input_dtype(model), device="meta"),))
    except RuntimeError as error:
        raise ModelError(f"an input size that fits {type(model).__name__}", got=f"{size} ({error})") from error
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes.items():
            module.training = training
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return LayerTable(str(getattr(model, "name", type(model).__name__)), tuple(size), tuple(rows), parameters)


def _input_dtype(model: nn.Module) -> torch.dtype:
    """int64 for hillock's token networks, else the dtype of the parameters."""
    own = getattr(model, "input_dtype", torch.float32)
    floating = (parameter.dtype for parameter in model.parameters() if parameter.is_floating_point())
    return next(floating, torch.float32) if own == torch.float32 else own


def _is_layer(module: nn.Module) -> bool:
    if recognise(module) is not None:
        return True
    return not any(True for _ in module.children()) and not isinstance(module, nn.Sequential | nn.Identity)


def _recorder(rows: list[Row], name: str) -> Any:
    def record(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        tensors = [value for value in inputs if isinstance(value, Tensor)]
        if tensors and isinstance(output, Tensor):
            rows.append(_row(name, module, tensors[0], output))

    return record


def _row(name: str, module: nn.Module, given: Tensor, output: Tensor) -> Row:
    kind = _kind(module)
    connections, multiply_adds = _work(module, kind, output)
    dimensions = given.dim() - 2
    return Row(
        name=name,
        type=type(module).__name__,
        kind=kind,
        kernel=_per_direction(getattr(module, "kernel_size", None), dimensions),
        stride=_per_direction(getattr(module, "stride", None), dimensions),
        padding=_per_direction(getattr(module, "padding", None), dimensions),
        groups=getattr(module, "groups", None),
        input=tuple(given.shape[1:]),
        output=tuple(output.shape[1:]),
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
    return "activation" if recognise(module) is not None else "other"


def _work(module: nn.Module, kind: str, output: Tensor) -> tuple[int, int]:
    """Return (connections, multiply-adds) for one example."""
    elements = output[0].numel()
    if kind in ("convolution", "linear"):
        weight, biased = module.weight, getattr(module, "bias", None) is not None
        assert isinstance(weight, Tensor)
        sums = elements * math.prod(weight.shape[1:])
        return sums + (elements if biased else 0), sums
    if isinstance(module, ResponseNorm | nn.LocalResponseNorm):
        return 0, elements * (int(module.size) + 1)
    if isinstance(module, MapNorm):
        return 0, elements * (module.size**2 + 1)
    if kind == "pooling" and "Avg" in type(module).__name__:
        kernel = getattr(module, "kernel_size", None)
        return 0, elements * (math.prod(_per_direction(kernel, output.dim() - 2) or ()) if kernel else 1)
    return 0, elements if kind in ("activation", "normalisation") else 0


def _per_direction(value: Any, dimensions: int) -> Any:
    if value is None or isinstance(value, str):
        return value
    return tuple(value) if isinstance(value, tuple | list) else (int(value),) * dimensions


def _times(value: Shape | str | None) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else "×".join(map(str, value))


def _grouped(number: int) -> str:
    return f"{number:,}" if number else ""
