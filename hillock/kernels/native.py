"""The door to the native library: activation functions on CPU tensors, forward and backward, in one dispatcher call.

    forward(name, x, constants)       φ(x), a new tensor laid out in memory as x is
    backward(name, g, x, constants)   g · φ'(x), rounded once
    bind(name, constants)             both as a pair of calls with the look-ups done, for hot paths

Precisions: `faithful` (below 1 ULP in float32, the fastest) and `exact` (float64 inside, one rounding; at most 0.5001
ULP in float32 and the nearest value in 16-bit formats). Autograd, transforms and the choice of path live elsewhere:
the operators (`torch.ops.hillock.*`) know nothing about derivatives, and have a meta kernel each.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from hillock.kernels import build

__all__ = [
    "Calls",
    "available",
    "backward",
    "backward_",
    "backward_of_bits",
    "bind",
    "bind_out",
    "forward",
    "forward_",
    "functions",
    "has_tables",
    "is_single",
    "operators",
    "parameters",
    "reason",
    "region_bits",
    "supports",
    "takes",
]

Precision = Literal["faithful", "exact"]
DTYPES = frozenset({torch.float32, torch.bfloat16, torch.float16, torch.float64})


class Calls(NamedTuple):
    """A function with its constants filled in: `forward(x)` and `backward(g, x)`."""

    forward: Callable[[Tensor], Tensor]
    backward: Callable[[Tensor, Tensor], Tensor]


class _Library:
    """What the loaded library offers; nothing where there is none. Made once, at the first question."""

    def __init__(self) -> None:
        self.parameters: dict[str, tuple[str, ...]] = {}
        self.tables: frozenset[str] = frozenset()
        self.single: frozenset[str] = frozenset()
        self.bits: frozenset[str] = frozenset()
        self.forwards: dict[tuple[str, str], Any] = {}
        self.backwards: dict[tuple[str, str], Any] = {}
        if not build.available():
            return
        for line in torch.ops.hillock.listing().splitlines():
            name, *rest = line.split()
            self.tables |= {name} if "!tables" in rest else set()
            self.single |= {name} if "!single" in rest else set()
            self.bits |= {name} if "!bits" in rest else set()
            self.parameters[name] = tuple(word for word in rest if not word.startswith("!"))
            for precision, suffix in (("faithful", ""), ("exact", "_exact")):
                self.forwards[name, precision] = _callable(f"{name}{suffix}")
                self.backwards[name, precision] = _callable(f"{name}{suffix}_backward")


def _callable(operator: str) -> Any:
    overload = getattr(torch.ops.hillock, operator).default
    # OpOverload.__call__ only forwards to this; without it a call costs a third less.
    return getattr(overload, "_op", overload)


_LOCK = threading.Lock()
_LIBRARY: _Library | None = None


def _library() -> _Library:
    global _LIBRARY
    if _LIBRARY is None:
        with _LOCK:
            if _LIBRARY is None:
                _LIBRARY = _Library()
    return _LIBRARY


def available() -> bool:
    """Whether the native library runs here; builds it if it has not been built yet."""
    return build.available()


def reason() -> str:
    """Return where the library was loaded from, or why there is none."""
    return build.reason()


def functions() -> tuple[str, ...]:
    """Return the names of the functions that the library has."""
    return tuple(_library().parameters)


def parameters(name: str) -> tuple[str, ...]:
    """Return the names of a function's constants, in the order in which the operators take them."""
    return _library().parameters[name]


def has_tables(name: str) -> bool:
    """Whether `faithful` has float32 tables for the function on this machine."""
    return name in _library().tables


def is_single(name: str) -> bool:
    """Whether `faithful` is float32 without tables; with neither it is the float64 path of `exact`."""
    return name in _library().single


def operators(name: str, precision: Precision = "faithful") -> tuple[Any, Any]:
    """Return the handles `torch.ops.hillock.NAME.default` of forward (x, constants...) and backward (g, x, ...)."""
    suffix = "" if precision == "faithful" else "_exact"
    operator = torch.ops.hillock
    return getattr(operator, f"{name}{suffix}").default, getattr(operator, f"{name}{suffix}_backward").default


# What a constant has to fulfil beyond being finite, where the formula divides by it or its sign decides the tails.
_POSITIVE = frozenset({("softplus", "beta"), ("celu", "alpha")})
_UNBOUNDED = frozenset({("softplus", "threshold")})


def supports(name: str, constants: Mapping[str, float], dtype: torch.dtype, device: torch.device | str) -> bool:
    """Whether `forward` and `backward` take this function with these constants on tensors of this dtype and device."""
    if torch.device(device).type != "cpu" or dtype not in DTYPES:
        return False
    expected = _library().parameters.get(name)
    if expected is None or set(expected) != set(constants):
        return False
    return all(
        isinstance(value, (int, float))
        and (math.isfinite(value) or (name, key) in _UNBOUNDED)
        and (value > 0 or (name, key) not in _POSITIVE)
        for key, value in constants.items()
    )


def bind(name: str, constants: Mapping[str, float], precision: Precision = "faithful") -> Calls:
    """Return forward and backward with the constants filled in; the quickest way to call the library repeatedly."""
    library = _library()
    ahead, back = library.forwards[name, precision], library.backwards[name, precision]
    numbers = [float(constants[key]) for key in library.parameters[name]]
    if not numbers:
        return Calls(ahead, back)
    if len(numbers) == 1:
        number = numbers[0]
        return Calls(lambda x: ahead(x, number), lambda g, x: back(g, x, number))
    return Calls(lambda x: ahead(x, *numbers), lambda g, x: back(g, x, *numbers))


def bind_out(
    name: str, constants: Mapping[str, float], precision: Precision = "faithful"
) -> tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor, Tensor, Tensor], Tensor]]:
    """Return forward(x, out) and backward(g, x, out), which write into `out`, with the constants filled in."""
    numbers = [float(constants[key]) for key in _library().parameters[name]]
    ahead, back = _callable("forward_out"), _callable("backward_out")
    is_exact = precision == "exact"
    return (
        lambda x, out: ahead(name, x, numbers, is_exact, out=out),
        lambda g, x, out: back(name, g, x, numbers, is_exact, out=out),
    )


def takes(x: Tensor) -> bool:
    """Whether the library computes on tensors like x."""
    return x.is_cpu and x.dtype in DTYPES and available()


def region_bits(x: Tensor, low: float, high: float) -> tuple[Tensor, bool]:
    """Return a bit for each element of x, in the order of memory, set where low <= x <= high; and whether x has a NaN.

    Bit k of byte i stands for element 8 i + k.
    """
    return torch.ops.hillock.region_bits(x, low, high)  # type: ignore[no-any-return]


def backward_of_bits(
    name: str,
    g: Tensor,
    bits: Tensor,
    points: tuple[float, float],
    constants: Mapping[str, float],
    precision: Precision,
    out: Tensor,
) -> Tensor:
    """Write into `out`, laid out as the input was, what `backward` gives for points[bit] as the input; return it."""
    numbers = [constants[key] for key in _library().parameters[name]]
    return torch.ops.hillock.backward_of_bits(  # type: ignore[no-any-return]
        name, g, bits, *points, numbers, precision == "exact", out=out
    )


def forward(name: str, x: Tensor, constants: Mapping[str, float], precision: Precision = "faithful") -> Tensor:
    """Return φ(x) as a new tensor with the strides of `x` (as `torch.empty_like` chooses them)."""
    library = _library()
    return library.forwards[name, precision](  # type: ignore[no-any-return]
        x, *[constants[key] for key in library.parameters[name]]
    )


def backward(
    name: str, g: Tensor, x: Tensor, constants: Mapping[str, float], precision: Precision = "faithful"
) -> Tensor:
    """Return g · φ'(x) with one rounding, as a new tensor with the strides of `x`; g has the shape and dtype of x."""
    library = _library()
    return library.backwards[name, precision](  # type: ignore[no-any-return]
        g, x, *[constants[key] for key in library.parameters[name]]
    )


def forward_(
    name: str, x: Tensor, constants: Mapping[str, float], precision: Precision = "faithful", out: Tensor | None = None
) -> Tensor:
    """Write φ(x) into `out` (into `x` itself by default) and return it; bit for bit what `forward` returns."""
    numbers = [constants[key] for key in _library().parameters[name]]
    target = x if out is None else out
    return torch.ops.hillock.forward_out(  # type: ignore[no-any-return]
        name, x, numbers, precision == "exact", out=target
    )


def backward_(
    name: str,
    g: Tensor,
    x: Tensor,
    constants: Mapping[str, float],
    precision: Precision = "faithful",
    out: Tensor | None = None,
) -> Tensor:
    """Write g · φ'(x) into `out` (into `g` itself by default) and return it; bit for bit what `backward` returns."""
    numbers = [constants[key] for key in _library().parameters[name]]
    target = g if out is None else out
    return torch.ops.hillock.backward_out(  # type: ignore[no-any-return]
        name, g, x, numbers, precision == "exact", out=target
    )
