"""How accurate the kernels are: every input, compared with an independent oracle in higher precision.

`check` judges one function, direction, precision and dtype over a set of inputs; `exhaustive` runs over all 2^32
float32 inputs, a result at a time, and keeps what it has found in a file, so that an interrupted run goes on. The oracle
(`cpp/oracle`) shares no code with the kernels: textbook formulas on the C library in double and long double.
"""

from __future__ import annotations

import ctypes
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from hillock import provenance
from hillock.kernels import build, native
from hillock.kernels.native import Precision

__all__ = ["DEFAULTS", "Verdict", "bit_patterns", "check", "every_half", "exhaustive", "judged"]

Direction = Literal["forward", "backward"]
_FORMATS = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2, torch.float64: 3}
_CHUNK = 1 << 22

# Constants to verify with: the catalogue's defaults.
DEFAULTS: Mapping[str, Mapping[str, float]] = {
    "swish": {"beta": 1.0},
    "softplus": {"beta": 1.0, "threshold": float("inf")},
    "elu": {"alpha": 1.0},
    "celu": {"alpha": 1.0},
    "leaky_relu": {"negative_slope": 0.01},
    "prelu": {"negative_slope": 0.25},
    "hardtanh": {"min_val": -1.0, "max_val": 1.0},
}


class _Statistics(ctypes.Structure):
    _fields_ = (
        ("worst", ctypes.c_double),
        ("worst_at", ctypes.c_double),
        ("misrounded", ctypes.c_int64),
        ("above_one", ctypes.c_int64),
        ("special", ctypes.c_int64),
        ("special_at", ctypes.c_double),
    )


@dataclass(frozen=True)
class Verdict:
    """What the oracle found over a set of inputs. ULP: units in the last place of the exact result's format."""

    inputs: int
    max_ulp: float
    max_ulp_at: float
    misrounded: int
    """Results that are not the nearest value (exact ties aside)."""
    one_ulp_or_more: int
    wrong_specials: int
    """Wrong NaN, infinity or sign (the sign of an underflow to zero is free)."""
    first_wrong_special_at: float

    @property
    def correctly_rounded(self) -> float:
        """Share of the inputs whose result is the nearest value, 0..1."""
        return 1.0 - self.misrounded / self.inputs if self.inputs else 1.0


@cache
def _oracle() -> Any:
    entry = ctypes.CDLL(str(build.compile_oracle())).hillock_oracle_check
    memory = ctypes.c_void_p
    entry.argtypes = [
        ctypes.c_char_p, ctypes.c_int, memory, ctypes.c_int, ctypes.c_double, memory, memory, ctypes.c_int64, memory,
    ]  # fmt: skip
    return entry


def judged(name: str) -> bool:
    """Whether the oracle knows the function."""
    return _oracle()(name.encode(), 0, None, 0, 1.0, None, None, 0, ctypes.byref(_Statistics())) == 0


def check(
    compute: Callable[[Tensor], Tensor],
    name: str,
    constants: Mapping[str, float],
    direction: Direction,
    chunks: Iterable[Tensor],
    gradient: float = 1.0,
) -> Verdict:
    """Judge `compute`, which maps inputs x to φ(x) or, for "backward", to gradient · φ'(x) in the dtype of x."""
    found = _Statistics()
    numbers = [float(constants[key]) for key in native.parameters(name)]
    array = (ctypes.c_double * max(len(numbers), 1))(*numbers)
    inputs = 0
    for x in chunks:
        y = compute(x).contiguous()
        assert y.dtype == x.dtype
        inputs += x.numel()
        unknown = _oracle()(
            name.encode(), int(direction == "backward"), array, _FORMATS[x.dtype], gradient,
            x.data_ptr(), y.data_ptr(), x.numel(), ctypes.byref(found),
        )  # fmt: skip
        assert not unknown, f"the oracle has no {name}"
    return Verdict(
        inputs, found.worst, found.worst_at, found.misrounded, found.above_one, found.special, found.special_at
    )


def native_call(
    name: str, constants: Mapping[str, float], direction: Direction, precision: Precision, gradient: float = 1.0
) -> Callable[[Tensor], Tensor]:
    """Return the native kernel as `check` takes it."""
    calls = native.bind(name, constants, precision)
    if direction == "forward":
        return calls.forward
    return lambda x: calls.backward(torch.full_like(x, gradient), x)


def bit_patterns(stride: int = 1, start: int = 0, stop: int = 1 << 32) -> Iterable[Tensor]:
    """Yield every `stride`-th float32 in the order of bit patterns, in chunks; an odd stride visits all exponents."""
    for low in range(start, stop, _CHUNK * stride):
        patterns = torch.arange(low, min(low + _CHUNK * stride, stop), stride, dtype=torch.int64)
        yield patterns.to(torch.int32).view(torch.float32)


def every_half(dtype: torch.dtype) -> Tensor:
    """Return all 65,536 values of a 16-bit format."""
    return torch.arange(1 << 16, dtype=torch.int32).to(torch.int16).view(dtype)


def exhaustive(
    path: Path,
    names: Iterable[str] | None = None,
    *,
    stride: int = 1,
    seconds: float | None = None,
    progress: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Verify every native function on all float32 inputs and keep the results in `path`, a JSON file.

    What the file already holds for the same kernels (by the hash of the library) and at least as many inputs is not
    repeated. With `seconds` no new item is begun after that time. One item (a function, direction, precision) is 2^32
    inputs and takes a minute or several.
    """
    library = build.library().parent.name
    kept: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"items": {}}
    started = time.monotonic()
    for name in names or native.functions():
        for precision in ("faithful", "exact"):
            for direction in ("forward", "backward"):
                key = f"{name} {direction} {precision}"
                known = kept["items"].get(key)
                if known and known["library"] == library and known["stride"] <= stride:
                    continue
                if seconds is not None and time.monotonic() - started > seconds:
                    return kept
                began = time.monotonic()
                constants = DEFAULTS.get(name, {})
                call = native_call(name, constants, direction, precision)  # type: ignore[arg-type]
                verdict = check(call, name, constants, direction, bit_patterns(stride))  # type: ignore[arg-type]
                item = {
                    "function": name, "direction": direction, "precision": precision,
                    "constants": {key: str(value) for key, value in constants.items()},
                    **asdict(verdict), "correctly_rounded": verdict.correctly_rounded,
                    "stride": stride, "seconds": round(time.monotonic() - began, 1), "library": library,
                    "provenance": provenance.collect(),
                }  # fmt: skip
                kept["items"][key] = item
                _write(path, kept)
                progress(describe(item))
    return kept


def describe(item: Mapping[str, Any]) -> str:
    """Return one line about one verified item."""
    return (
        f"{item['function']:14} {item['direction']:8} {item['precision']:8}  max {item['max_ulp']:.6f} ULP "
        f"at {item['max_ulp_at']:.9g}, nearest value {100 * item['correctly_rounded']:.5f} %, "
        f">= 1 ULP: {item['one_ulp_or_more']}, wrong specials: {item['wrong_specials']}"
        + (f" (first at {item['first_wrong_special_at']})" if item["wrong_specials"] else "")
    )


def _write(path: Path, kept: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(kept, indent=1))
    os.replace(partial, path)
