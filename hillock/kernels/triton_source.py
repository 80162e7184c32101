"""From a declaration to Triton source: the torch operations of `value` and `slope`, traced and written down one by one.

    trace        make_fx(activation.slope)(float64 sample) -> a graph of some thirty kinds of operations
    statements   one line of Triton each, over float64 blocks, numbers filled in
    module       forward: y = round(φ(x));  backward: dx = round(g · φ'(x))

The float64 is the accuracy contract: one rounding at the end, as everywhere. By its data sheet an H200 does some 50
double operations in the time that its memory takes to deliver an element. What Triton lacks (expm1, log1p, erfc and the
like) is in `triton_functions.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from hillock.errors import UsageError

if TYPE_CHECKING:
    from hillock.activations import Activation

__all__ = ["module_source"]

# The torch operation -> what it is in Triton, with {0}, {1} ... for its arguments.
_FORMS = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "rsub": "{1} - {0}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "reciprocal": "1.0 / {0}",
    "neg": "-{0}",
    "abs": "tl.abs({0})",
    "exp": "tl.exp({0})",
    "log": "tl.log({0})",
    "sqrt": "tl.sqrt({0})",
    "sin": "tl.sin({0})",
    "cos": "tl.cos({0})",
    "expm1": "expm1({0})",
    "log1p": "log1p({0})",
    "tanh": "tanh({0})",
    "erfc": "erfc({0})",
    "atan": "atan({0})",
    "hypot": "hypot({0}, {1})",
    "sign": "sign({0})",
    "where": "tl.where({0}, {1}, {2})",
    "lt": "{0} < {1}",
    "le": "{0} <= {1}",
    "gt": "{0} > {1}",
    "ge": "{0} >= {1}",
    "eq": "{0} == {1}",
    "ne": "{0} != {1}",
    "isnan": "{0} != {0}",
    "isinf": "tl.abs({0}) == float('inf')",
    "bitwise_and": "{0} & {1}",
    "bitwise_or": "{0} | {1}",
    "bitwise_not": "~{0}",
    "_to_copy": "{0}",
}

_MODULE = '''"""Generated from the declaration of {name}; see hillock/kernels/triton_source.py."""
import triton
import triton.language as tl

from hillock.kernels.triton_functions import atan, erfc, expm1, hypot, log1p, rounded, sign, tanh


@triton.jit
def forward(x_pointer, y_pointer, count, BLOCK: tl.constexpr):
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = place < count
    x = tl.load(x_pointer + place, mask=inside, other=0.0).to(tl.float64)
{value}
    tl.store(y_pointer + place, rounded(result, y_pointer.dtype.element_ty), mask=inside)


@triton.jit
def backward(g_pointer, x_pointer, y_pointer, count, BLOCK: tl.constexpr):
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = place < count
    x = tl.load(x_pointer + place, mask=inside, other=0.0).to(tl.float64)
    g = tl.load(g_pointer + place, mask=inside, other=0.0).to(tl.float64)
{slope}
    tl.store(y_pointer + place, rounded(g * result, y_pointer.dtype.element_ty), mask=inside)
'''


def module_source(activation: Activation, constants: Mapping[str, float]) -> str:
    """Return the source of a module with the Triton kernels `forward` and `backward` of a function.

    Errors: `UsageError` for a declaration with an operation that has no Triton form.
    """
    return _MODULE.format(
        name=activation.name,
        value=_statements(activation.value, constants),
        slope=_statements(activation.slope, constants),
    )


def _statements(expression: Callable[..., Tensor], constants: Mapping[str, float]) -> str:
    """Return the lines that compute `result` from `x`."""
    graph = make_fx(lambda x: expression(x, **constants))(torch.linspace(-2, 2, 8, dtype=torch.float64)).graph
    lines: list[str] = []
    names: dict[Any, str] = {}
    for node in graph.nodes:
        if node.op == "placeholder":
            names[node] = "x"
        elif node.op == "output":
            (result,) = node.args
            result = result[0] if isinstance(result, (tuple, list)) else result
            lines.append(f"    result = {names[result]}")
        elif node.op == "call_function":
            names[node] = f"t{len(names)}"
            lines.append(f"    {names[node]} = {_line(node, names)}")
        else:
            raise UsageError("an expression without tensors of its own, for a Triton kernel", got=str(node.target))
    return "\n".join(lines)


def _line(node: Any, names: Mapping[Any, str]) -> str:
    """Return one operation in Triton."""
    kind = node.target.overloadpacket.__name__
    arguments = [names[part] if part in names else _number(part) for part in _operands(node)]
    if kind in ("full", "full_like"):
        return f"tl.full([BLOCK], {_literal(node.args[1])}, tl.float64)"
    if kind in ("zeros_like", "ones_like"):
        return _number(0.0 if kind == "zeros_like" else 1.0)
    if kind == "clamp":
        low, high = [*node.args[1:], None, None][:2]
        inner = arguments[0]
        if low is not None:
            inner = f"tl.where({inner} < {_number(low)}, {_number(low)}, {inner})"
        return inner if high is None else f"tl.where({inner} > {_number(high)}, {_number(high)}, {inner})"
    if kind not in _FORMS or node.kwargs.get("alpha", 1) != 1:
        raise UsageError("operations that have a Triton form", got=str(node.target), instead="a simpler expression")
    return _FORMS[kind].format(*arguments)


def _operands(node: Any) -> list[Any]:
    return [part for part in node.args if isinstance(part, (torch.fx.Node, int, float)) and not isinstance(part, bool)]


def _number(value: Any) -> str:
    """Return a number as a block of float64: a bare literal could become float32."""
    return f"tl.full([BLOCK], {_literal(value)}, tl.float64)"


def _literal(value: float) -> str:
    return repr(float(value)) if math.isfinite(value) else f"float('{float(value)}')"
