"""Batches of any form, and running a network on one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from hillock.errors import ModelError, UsageError

__all__ = ["Batch", "LossFunction", "batch_size", "first_tensor", "logits_of", "on_device", "run", "taken"]

LossFunction = Callable[[Any, Any], Tensor]
# (inputs, targets), or a mapping that the network takes as keywords (and answers with something that has `.loss`).
Batch = Any


def taken(batches: Iterable[Batch], samples: int) -> Iterable[Batch]:
    """Return whole batches until `samples` samples are reached; a single (inputs, targets) pair counts as one batch."""
    if isinstance(batches, tuple) and len(batches) == 2 and isinstance(batches[0], Tensor):
        batches = [batches]
    seen = 0
    for batch in batches:
        yield batch
        seen += batch_size(batch)
        if seen >= samples:
            return


def batch_size(batch: Batch) -> int:
    """Return the number of samples: the length of the first tensor found."""
    tensor = first_tensor(batch)
    if tensor is None or tensor.dim() == 0:
        raise UsageError("batches of (inputs, targets) tensors", got=type(batch).__name__)
    return len(tensor)


def first_tensor(value: Any) -> Tensor | None:
    """Return the first tensor inside nested tuples, lists and mappings, or None."""
    if isinstance(value, Tensor):
        return value
    parts: Iterable[Any] = ()
    if isinstance(value, Mapping):
        parts = value.values()
    elif isinstance(value, (tuple, list)):
        parts = value
    found = (first_tensor(part) for part in parts)
    return next((tensor for tensor in found if tensor is not None), None)


def run(network: nn.Module, batch: Batch) -> Any:
    """Call the uncompiled network on one batch. What it raises is wrapped with the batch's shape."""
    # A module compiled in place carries the compiled call beside the plain one; take the plain one.
    call: Any = network._call_impl
    try:
        if isinstance(batch, Mapping):
            return call(**batch)
        inputs = batch[0]
        if isinstance(inputs, Mapping):
            return call(**inputs)
        return call(*inputs) if isinstance(inputs, (tuple, list)) else call(inputs)
    except (RuntimeError, TypeError, ValueError) as error:
        tensor = first_tensor(batch)
        shape = tuple(tensor.shape) if tensor is not None else "no tensor"
        raise ModelError(
            "a network that runs on the probe batch", got=f"inputs of shape {shape} and then: {error}"
        ) from error


def logits_of(output: Any, *, required: bool = True) -> Any:
    """Return the class scores of an output: the tensor, its `.logits`, or the first tensor of a tuple."""
    if isinstance(output, Tensor):
        return output
    found = getattr(output, "logits", None)
    found = found if isinstance(found, Tensor) else first_tensor(output)
    if found is None and required:
        raise ModelError("an output with class scores", got=type(output).__name__, instead="loss=function")
    return found


def on_device(value: Any, network: nn.Module) -> Any:
    """Return nested tensors on the device (and, for real numbers, in the precision) of the network's weights."""
    weight = next((weight for weight in network.parameters() if weight.is_floating_point()), None)
    if weight is None:
        return value
    if isinstance(value, Tensor):
        value = value.clone() if value.is_inference() else value
        return value.to(weight.device, weight.dtype) if value.is_floating_point() else value.to(weight.device)
    if isinstance(value, Mapping):
        return {key: on_device(part, network) for key, part in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(on_device(part, network) for part in value)
    return value
