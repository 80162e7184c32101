"""Find the activations that a model calls as functions, which no module can stand for."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
import torch.fx
from torch import nn

from hillock.layers.recognise import recognise

__all__ = ["Unseen", "find_unseen"]

# Names of functions in torch, torch.nn.functional and of tensor methods -> the activation they compute.
_CALLS = {
    "relu": "relu",
    "relu_": "relu",
    "relu6": "relu6",
    "leaky_relu": "leaky_relu",
    "leaky_relu_": "leaky_relu",
    "prelu": "prelu",
    "rrelu": "rrelu",
    "rrelu_": "rrelu",
    "elu": "elu",
    "elu_": "elu",
    "selu": "selu",
    "selu_": "selu",
    "celu": "celu",
    "celu_": "celu",
    "gelu": "gelu",
    "silu": "silu",
    "mish": "mish",
    "sigmoid": "sigmoid",
    "sigmoid_": "sigmoid",
    "tanh": "tanh",
    "tanh_": "tanh",
    "softplus": "softplus",
    "softsign": "softsign",
    "logsigmoid": "log_sigmoid",
    "tanhshrink": "tanh_shrink",
    "hardtanh": "hard_tanh",
    "hardtanh_": "hard_tanh",
    "hardsigmoid": "hard_sigmoid",
    "hardswish": "hard_swish",
    "hardshrink": "hard_shrink",
    "softshrink": "soft_shrink",
    "threshold": "threshold",
    "threshold_": "threshold",
    "glu": "glu",
}


@dataclass(frozen=True)
class Unseen:
    """An activation that is called as a function.

    Attributes:
        path: the module whose code calls it ("" for the model itself).
        name: the activation.
        where: what was found: a call, or a function kept as an attribute.
    """

    path: str
    name: str
    where: str


def find_unseen(model: nn.Module) -> tuple[tuple[Unseen, ...], tuple[tuple[str, str], ...]]:
    """Return the function calls that were found, and (path, reason) for modules that could not be traced.

    The model is traced as a whole if possible, else module by module; torch's own building blocks (linear, convolution,
    normalisation) are not looked into. Attributes that hold a function, as in `nn.TransformerEncoderLayer`, are found
    without tracing.

    >>> class Net(nn.Module):
    ...     def forward(self, x):
    ...         return torch.relu(x)
    >>> find_unseen(Net())[0]
    (Unseen(path='', name='relu', where='torch.relu'),)
    """
    found: dict[Unseen, None] = {}
    not_traced: list[tuple[str, str]] = []
    for path, module in model.named_modules():
        for attribute, value in vars(module).items():
            name = _CALLS.get(getattr(value, "__name__", ""))
            if name and inspect.isroutine(value) and recognise(module) is None:
                found[Unseen(path, name, f"the function in attribute {attribute}")] = None
    _trace(model, "", found, not_traced)
    return tuple(found), tuple(not_traced)


class _Tracer(torch.fx.Tracer):
    """Looks into every module that has children or code of its own; activations and torch's own layers are leaves."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return recognise(m) is not None or type(m).__module__.startswith(
            ("torch.nn.", "torch.ao.nn.", "hillock.layers.")
        )


def _trace(module: nn.Module, path: str, found: dict[Unseen, None], not_traced: list[tuple[str, str]]) -> None:
    if recognise(module) is not None or (path and type(module).__module__.startswith("torch.nn.modules")):
        children = () if recognise(module) is not None else module.named_children()
        for name, child in children:
            _trace(child, f"{path}.{name}" if path else name, found, not_traced)
        return
    try:
        graph = _Tracer().trace(module)
    except Exception as error:  # code that depends on values, or anything else that symbolic tracing cannot follow
        not_traced.append(
            (path, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}")
        )
        for name, child in module.named_children():
            _trace(child, f"{path}.{name}" if path else name, found, not_traced)
        return
    for node in graph.nodes:
        called = _called(node)
        if called:
            scope = _scope(node, path)
            found[Unseen(scope, *called)] = None


def _called(node: torch.fx.Node) -> tuple[str, str] | None:
    """Return (activation, how it was called) if the node is one."""
    if node.op == "call_method" and isinstance(node.target, str) and node.target in _CALLS:
        return _CALLS[node.target], f"Tensor.{node.target}"
    if node.op == "call_function":
        name = getattr(node.target, "__name__", "")
        module = (
            (getattr(node.target, "__module__", "") or "torch").replace("_C._nn", "nn.functional").replace("._C", "")
        )
        if name in _CALLS and module.startswith("torch"):
            return _CALLS[name], f"{module}.{name}"
    return None


def _scope(node: torch.fx.Node, path: str) -> str:
    """Return the path of the module whose code made the call."""
    stack: dict[str, Any] = node.meta.get("nn_module_stack") or {}
    inner = [str(entry[0]) for entry in stack.values()]
    return ".".join(part for part in (path, inner[-1] if inner else "") if part)
