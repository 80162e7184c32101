"""How accurate the kernels are: every input, compared with an independent oracle in higher precision.

`check` judges one function, direction and dtype over a set of inputs; `exhaustive` runs over all 2^32 float32 inputs,
both directions and precisions in one pass, and keeps what it has found in a file, so that an interrupted run goes on.

The oracle (`cpp/oracle`) shares no code with the kernels: textbook formulas on the C library, in long double where it
matters. `exhaustive` lets a *screen* look first: the same formulas on vectors of double. It settles what is clear by
4e-6 ULP; results near a tie, near 1 ULP, near the largest error known, at zeros and infinities and beside a root of the
derivative go to the judge in long double. `screen_error` measures how far the screen is from the judge.
"""

from __future__ import annotations

import ctypes
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from hillock.kernels import build, native, results_file
from hillock.kernels.native import Precision

__all__ = [
    "DEFAULTS",
    "Verdict",
    "bit_patterns",
    "check",
    "check_quickly",
    "every_half",
    "exhaustive",
    "judged",
    "screen_error",
]

Direction = Literal["forward", "backward"]
_FORMATS = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2, torch.float64: 3}
_CHUNK = 1 << 22
_QUICK_CHUNK = 1 << 17  # inputs and four results stay in the second cache

# Constants to verify with: the catalogue's defaults.
DEFAULTS: Mapping[str, Mapping[str, float]] = {
    "swish": {"beta": 1.0},
    "softplus": {"beta": 1.0, "threshold": float("inf")},
    "elu": {"alpha": 1.0},
    "celu": {"alpha": 1.0},
    "leaky_relu": {"negative_slope": 0.01},
    "prelu": {"negative_slope": 0.25},
    "hard_tanh": {"low": -1.0, "high": 1.0},
    "penalised_tanh": {"negative_slope": 0.25},
    "soft_shrink": {"threshold": 0.5},
    "hard_shrink": {"threshold": 0.5},
    "threshold": {"threshold": 1.0, "replacement": 0.0},
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
def _library() -> Any:
    library = ctypes.CDLL(str(build.compile_oracle()))
    text, memory, whole, count, real = (
        ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int64, ctypes.c_double,
    )  # fmt: skip
    library.hillock_oracle_check.argtypes = [text, whole, memory, whole, real, memory, memory, whole, count, memory]
    library.hillock_oracle_quick.argtypes = [text, whole, memory, memory, memory, whole, count, memory, memory]
    library.hillock_oracle_screen_error.argtypes = [text, whole, memory, memory, count, memory]
    library.hillock_oracle_screen_error.restype = real
    return library


def _oracle() -> Any:
    return _library().hillock_oracle_check


def screen_error(name: str, constants: Mapping[str, float], direction: Direction, x: Tensor) -> tuple[float, float]:
    """Return the largest error of the screen in float32 ULP over x, and where; -1 where there is no screen."""
    at = ctypes.c_double()
    worst = _library().hillock_oracle_screen_error(
        name.encode(), int(direction == "backward"), _numbers(name, constants), x.data_ptr(), x.numel(),
        ctypes.byref(at),
    )  # fmt: skip
    return float(worst), at.value


def _numbers(name: str, constants: Mapping[str, float]) -> Any:
    numbers = [float(constants[key]) for key in native.parameters(name)]
    return (ctypes.c_double * max(len(numbers), 1))(*numbers)


def judged(name: str) -> bool:
    """Whether the oracle knows the function."""
    return bool(_oracle()(name.encode(), 0, None, 0, 1.0, None, None, 0, 0, None) == 0)


def check(
    computations: Sequence[Callable[[Tensor], Tensor]],
    name: str,
    constants: Mapping[str, float],
    direction: Direction,
    chunks: Iterable[Tensor],
    *,
    gradient: float = 1.0,
    workers: int = 1,
) -> list[Verdict]:
    """Judge functions that map x to φ(x) or, for "backward", to gradient · φ'(x) in the dtype of x; a verdict each.

    The chunks of inputs are shared out over `workers` threads; the oracle's value is computed once for all functions.
    """
    array = _numbers(name, constants)

    def one(x: Tensor) -> tuple[int, Any]:
        found = (_Statistics * len(computations))()
        results = [compute(x).contiguous() for compute in computations]
        assert all(y.dtype == x.dtype and y.shape == x.shape for y in results)
        addresses = (ctypes.c_void_p * len(results))(*(y.data_ptr() for y in results))
        unknown = _oracle()(
            name.encode(), int(direction == "backward"), array, _FORMATS[x.dtype], gradient,
            x.data_ptr(), addresses, len(results), x.numel(), found,
        )  # fmt: skip
        assert not unknown, f"the oracle has no {name}"
        return x.numel(), found

    with ThreadPoolExecutor(workers) as pool:
        parts = list(pool.map(one, chunks))
    inputs = sum(count for count, _ in parts)
    return [_merged(inputs, [found[k] for _, found in parts]) for k in range(len(computations))]


def _merged(inputs: int, parts: Sequence[_Statistics]) -> Verdict:
    worst = max(parts, key=lambda part: part.worst)
    first = next((part.special_at for part in parts if part.special), 0.0)
    return Verdict(
        inputs, worst.worst, worst.worst_at, sum(part.misrounded for part in parts),
        sum(part.above_one for part in parts), sum(part.special for part in parts), first,
    )  # fmt: skip


def native_call(
    name: str, constants: Mapping[str, float], direction: Direction, precision: Precision, gradient: float = 1.0
) -> Callable[[Tensor], Tensor]:
    """Return the native kernel as `check` takes it."""
    calls = native.bind(name, constants, precision)
    if direction == "forward":
        return calls.forward
    return lambda x: calls.backward(torch.full_like(x, gradient), x)


class _Patterns(Sequence[Tensor]):
    """Chunks of bit patterns, made when they are asked for: 2^32 inputs are not held at once."""

    def __init__(self, stride: int, start: int, stop: int) -> None:
        self.stride, self.start, self.stop = stride, start, stop

    def __len__(self) -> int:
        return math.ceil((self.stop - self.start) / (_CHUNK * self.stride))

    def __getitem__(self, index: Any) -> Any:
        if index >= len(self):
            raise IndexError(index)
        low = self.start + index * _CHUNK * self.stride
        patterns = torch.arange(low, min(low + _CHUNK * self.stride, self.stop), self.stride, dtype=torch.int64)
        return patterns.to(torch.int32).view(torch.float32)


def bit_patterns(stride: int = 1, start: int = 0, stop: int = 1 << 32) -> Sequence[Tensor]:
    """Return every `stride`-th float32 in the order of bit patterns, in chunks; an odd stride visits all exponents."""
    return _Patterns(stride, start, stop)


def every_half(dtype: torch.dtype) -> Tensor:
    """Return all 65,536 values of a 16-bit format."""
    return torch.arange(1 << 16, dtype=torch.int32).to(torch.int16).view(dtype)


def check_quickly(
    name: str, constants: Mapping[str, float], *, stride: int = 1, workers: int = 1
) -> tuple[dict[tuple[Direction, Precision], Verdict], float]:
    """Judge the native float32 kernels of one function, both directions and precisions in one pass over the inputs.

    Returns the verdicts and the share of results that the screen left to the judge.
    """
    array = _numbers(name, constants)
    same = not native.has_tables(name) and not native.is_single(name)  # `faithful` runs the code of `exact`
    precisions: tuple[Precision, ...] = ("exact",) if same else ("faithful", "exact")
    calls = {precision: native.bind(name, constants, precision) for precision in precisions}
    chunks = range(-(1 << 31), 1 << 31, _QUICK_CHUNK * stride)

    def one_share(worker: int) -> tuple[int, int, dict[Direction, Any]]:
        found: dict[Direction, Any] = {
            "forward": (_Statistics * len(calls))(), "backward": (_Statistics * len(calls))(),
        }  # fmt: skip
        judged, inputs = ctypes.c_int64(), 0
        ones = torch.ones(_QUICK_CHUNK)
        for low in chunks[worker::workers]:
            high = min(low + _QUICK_CHUNK * stride, 1 << 31)
            x = torch.arange(low, high, stride, dtype=torch.int32).view(torch.float32)
            g = ones[: x.numel()]
            for direction, statistics in found.items():
                results = [
                    call.forward(x) if direction == "forward" else call.backward(g, x) for call in calls.values()
                ]
                addresses = (ctypes.c_void_p * len(results))(*(y.data_ptr() for y in results))
                unknown = _library().hillock_oracle_quick(
                    name.encode(), int(direction == "backward"), array, x.data_ptr(), addresses, len(results),
                    x.numel(), statistics, ctypes.byref(judged),
                )  # fmt: skip
                assert not unknown, f"the oracle has no {name}"
            inputs += x.numel()
        return inputs, judged.value, found

    with ThreadPoolExecutor(workers) as pool:
        shares = list(pool.map(one_share, range(workers)))
    inputs = sum(share[0] for share in shares)
    verdicts: dict[tuple[Direction, Precision], Verdict] = {}
    for direction in shares[0][2]:
        for k, precision in enumerate(precisions):
            verdicts[direction, precision] = _merged(inputs, [share[2][direction][k] for share in shares])
        verdicts[direction, "faithful"] = verdicts.get((direction, "faithful"), verdicts[direction, "exact"])
    return verdicts, sum(share[1] for share in shares) / (2 * len(calls) * inputs)


def exhaustive(
    path: Path,
    names: Iterable[str] | None = None,
    *,
    stride: int = 1,
    seconds: float | None = None,
    workers: int = 1,
    progress: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Verify every native function on all float32 inputs, in both precisions, and keep the results in `path` (JSON).

    What the file already holds for the same code of a function (`build.kernels_version`) and at least as many inputs is
    not repeated. With `seconds` no function is begun after that time; one takes a minute or two of one core.
    """
    kept = results_file.read(path)
    started = time.monotonic()
    for name in names or native.functions():
        version = build.kernels_version(name)
        known = [item for item in kept["items"].values() if item["function"] == name]
        if len(known) == 4 and all(item["kernels"] == version and item["stride"] <= stride for item in known):
            continue
        if seconds is not None and time.monotonic() - started > seconds:
            break
        began = time.monotonic()
        constants = DEFAULTS.get(name, {})
        verdicts, judged = check_quickly(name, constants, stride=stride, workers=workers)
        common = {
            "constants": {key: str(value) for key, value in constants.items()}, "stride": stride, "kernels": version,
            "left_to_the_judge": judged, "seconds": round(time.monotonic() - began, 1),
            "commit": results_file.certify(kept),
        }  # fmt: skip
        for (direction, precision), verdict in sorted(verdicts.items(), reverse=True):
            item = {"function": name, "direction": direction, "precision": precision, **asdict(verdict), **common}
            kept["items"][f"{name} {direction} {precision}"] = item
            progress(describe(item))
        results_file.write(path, kept)
    return kept


def describe(item: Mapping[str, Any]) -> str:
    """Return one line about one verified item."""
    nearest = 1 - item["misrounded"] / item["inputs"]
    return (
        f"{item['function']:14} {item['direction']:8} {item['precision']:8}  max {item['max_ulp']:.6f} ULP "
        f"at {item['max_ulp_at']:.9g}, nearest value {100 * nearest:.5f} %, "
        f">= 1 ULP: {item['one_ulp_or_more']}, wrong specials: {item['wrong_specials']}"
        + (f" (first at {item['first_wrong_special_at']})" if item["wrong_specials"] else "")
    )
