"""How fast the native kernels are beside torch and beside plain memory traffic.

All candidates of an item (torch, torch.compile, `faithful`, `exact`, and `copy_` or `mul(out=)` for the memory) take
turns within one run, so a machine whose speed drifts slows all of them; ratios of medians are what to look at. Outputs
are allocated before. Results are kept item by item in a file, so that a long measurement can be made in parts.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import torch
from torch import Tensor

from hillock.kernels import build, native, results_file
from hillock.kernels.verify import DEFAULTS
from hillock.randomness import generator

__all__ = ["TORCH", "Setting", "describe", "measure", "overhead", "settings"]

_ATEN = torch.ops.aten
Forward = Callable[[Tensor, Tensor], Any]
Backward = Callable[[Tensor, Tensor, Tensor, Tensor], Any]  # gradient, input, output of forward, where to write
_ELU = (1.0, 1.0, 1.0)
_SELU = (1.6732632423543772, 1.0507009873554805, 1.0)

# What torch has: forward(x, out) and backward(g, x, y, out).
TORCH: Mapping[str, tuple[Forward, Backward]] = {
    "sigmoid": (
        lambda x, out: torch.sigmoid(x, out=out),
        lambda g, x, y, out: _ATEN.sigmoid_backward.grad_input(g, y, grad_input=out),
    ),
    "tanh": (
        lambda x, out: torch.tanh(x, out=out),
        lambda g, x, y, out: _ATEN.tanh_backward.grad_input(g, y, grad_input=out),
    ),
    "silu": (
        lambda x, out: _ATEN.silu.out(x, out=out),
        lambda g, x, y, out: _ATEN.silu_backward.grad_input(g, x, grad_input=out),
    ),
    "gelu": (
        lambda x, out: _ATEN.gelu.out(x, out=out),
        lambda g, x, y, out: _ATEN.gelu_backward.grad_input(g, x, grad_input=out),
    ),
    "gelu_tanh": (
        lambda x, out: _ATEN.gelu.out(x, approximate="tanh", out=out),
        lambda g, x, y, out: _ATEN.gelu_backward.grad_input(g, x, approximate="tanh", grad_input=out),
    ),
    "mish": (lambda x, out: _ATEN.mish.out(x, out=out), lambda g, x, y, out: _ATEN.mish_backward(g, x)),
    "softplus": (
        lambda x, out: _ATEN.softplus.out(x, out=out),
        lambda g, x, y, out: _ATEN.softplus_backward.grad_input(g, x, 1, 20, grad_input=out),
    ),
    "elu": (
        lambda x, out: _ATEN.elu.out(x, *_ELU, out=out),
        lambda g, x, y, out: _ATEN.elu_backward.grad_input(g, *_ELU, False, x, grad_input=out),
    ),
    "selu": (
        lambda x, out: _ATEN.elu.out(x, *_SELU, out=out),
        lambda g, x, y, out: _ATEN.elu_backward.grad_input(g, *_SELU, False, x, grad_input=out),
    ),
    "hard_swish": (
        lambda x, out: _ATEN.hardswish.out(x, out=out),
        lambda g, x, y, out: _ATEN.hardswish_backward.out(g, x, out=out),
    ),
    "hard_sigmoid": (
        lambda x, out: _ATEN.hardsigmoid.out(x, out=out),
        lambda g, x, y, out: _ATEN.hardsigmoid_backward.grad_input(g, x, grad_input=out),
    ),
    "relu": (
        lambda x, out: _ATEN.clamp_min.out(x, 0, out=out),
        lambda g, x, y, out: _ATEN.threshold_backward.grad_input(g, y, 0, grad_input=out),
    ),
    "leaky_relu": (
        lambda x, out: _ATEN.leaky_relu.out(x, 0.01, out=out),
        lambda g, x, y, out: _ATEN.leaky_relu_backward.grad_input(g, x, 0.01, False, grad_input=out),
    ),
    "hard_tanh": (
        lambda x, out: _ATEN.hardtanh.out(x, -1.0, 1.0, out=out),
        lambda g, x, y, out: _ATEN.hardtanh_backward.grad_input(g, x, -1.0, 1.0, grad_input=out),
    ),
    "soft_shrink": (
        lambda x, out: _ATEN.softshrink.out(x, 0.5, out=out),
        lambda g, x, y, out: _ATEN.softshrink_backward.grad_input(g, x, 0.5, grad_input=out),
    ),
}

# The forward formulas as torch.compile is given them; it writes into `out` as the others do.
_COMPILED: Mapping[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "silu": torch.nn.functional.silu,
    "gelu": torch.nn.functional.gelu,
    "gelu_tanh": lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
    "mish": torch.nn.functional.mish,
    "elu": torch.nn.functional.elu,
    "hard_swish": torch.nn.functional.hardswish,
    "relu": torch.relu,
}


class Setting(NamedTuple):
    """What an item is measured on. deviation: of the normal inputs; 0 stands for inputs that all lie in the tails."""

    function: str
    size: int
    dtype: str = "float32"
    deviation: float = 1.0
    threads: int = 1
    layout: str = "contiguous"

    def key(self, direction: str) -> str:
        """Return the name of the item in the file."""
        data = "tails" if not self.deviation else f"sd {self.deviation:g}"
        return f"{self.function} {direction} 2^{self.size} {self.dtype} {data} threads {self.threads} {self.layout}"


def settings(
    functions: Iterable[str] | None = None,
    sizes: Iterable[int] = (12, 16, 20, 24),
    dtypes: Iterable[str] = ("float32",),
    deviations: Iterable[float] = (1.0,),
    threads: Iterable[int] = (1,),
    layouts: Iterable[str] = ("contiguous",),
) -> list[Setting]:
    """Return all combinations."""
    product = itertools.product(threads, layouts, dtypes, sizes, deviations, functions or TORCH)
    return [
        Setting(function, size, dtype, deviation, count, layout)
        for count, layout, dtype, size, deviation, function in product
    ]


def measure(
    path: Path,
    wanted: Iterable[Setting],
    *,
    turns: int = 11,
    compiled: bool = False,
    seconds: float | None = None,
    progress: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Time forward and backward in each setting and keep the items in `path`; what is there for the same code stays.

    An item has the 20 %, 50 % and 80 % quantiles of nanoseconds an element for each candidate over `turns` turns (a
    third of them for the largest sizes), and ratios of medians. With `seconds`, nothing is begun after that time.
    """
    kept = results_file.read(path)
    before, started = torch.get_num_threads(), time.monotonic()
    try:
        for setting in wanted:
            version = build.kernels_version(setting.function)
            known = [kept["items"].get(setting.key(direction)) for direction in ("forward", "backward")]
            done = all(
                item and item["kernels"] == version and (not compiled or "compiled" in item["ns"]) for item in known
            )
            if done or (seconds is not None and time.monotonic() - started > seconds):
                continue
            torch.set_num_threads(setting.threads)
            commit = results_file.certify(kept)
            for direction, item in _pair(setting, turns if setting.size < 22 else max(3, turns // 3), compiled).items():
                kept["items"][setting.key(direction)] = {
                    **setting._asdict(), "direction": direction, **item, "kernels": version,
                    "commit": commit,
                }  # fmt: skip
                progress(describe(kept["items"][setting.key(direction)]))
            results_file.write(path, kept)
    finally:
        torch.set_num_threads(before)
    return kept


def _tensors(setting: Setting) -> tuple[Tensor, Tensor]:
    source = generator(0, "speed", setting.size)
    channels_last = setting.layout == "channels_last"
    shape = (1 << (setting.size - 12), 64, 8, 8) if channels_last else (1 << setting.size,)
    x = torch.randn(shape, generator=source)
    x = x * setting.deviation if setting.deviation else x.sign() * (10 + 5 * x.abs())
    g = torch.randn(shape, generator=source)
    dtype = getattr(torch, setting.dtype)
    x, g = x.to(dtype), g.to(dtype)
    if channels_last:
        x, g = x.to(memory_format=torch.channels_last), g.to(memory_format=torch.channels_last)
    return x, g


def _pair(setting: Setting, turns: int, compiled: bool) -> dict[str, dict[str, Any]]:
    name = setting.function
    x, g = _tensors(setting)
    constants = DEFAULTS.get(name, {})
    out, other, y = torch.empty_like(x), torch.empty_like(x), torch.empty_like(x)
    ahead, back = TORCH[name]
    ahead(x, y)
    faithful, faithful_back = native.bind_out(name, constants)
    exact, exact_back = native.bind_out(name, constants, "exact")
    forward: dict[str, Callable[[], Any]] = {
        "torch": lambda: ahead(x, out),
        "faithful": lambda: faithful(x, other),
        "exact": lambda: exact(x, other),
        "memory": lambda: out.copy_(x),
    }
    if compiled and name in _COMPILED:
        formula = _COMPILED[name]
        fused = torch.compile(lambda x, out: out.copy_(formula(x)), dynamic=False)
        forward["compiled"] = lambda: fused(x, out)
    elif compiled:
        forward["compiled"] = forward["torch"]
    backward: dict[str, Callable[[], Any]] = {
        "torch": lambda: back(g, x, y, out),
        "faithful": lambda: faithful_back(g, x, other),
        "exact": lambda: exact_back(g, x, other),
        "memory": lambda: torch.mul(g, x, out=out),
    }
    if compiled:
        fused_back = torch.compile(lambda g, x, y, out: back(g, x, y, out), dynamic=False)
        backward["compiled"] = lambda: fused_back(g, x, y, out)
    count = x.numel()
    return {"forward": _timed(forward, count, turns), "backward": _timed(backward, count, turns)}


def _timed(candidates: Mapping[str, Callable[[], Any]], elements: int, turns: int) -> dict[str, Any]:
    """Let the candidates take turns; a turn repeats small work until it lasts a tenth of a millisecond or so."""
    repeats = max(1, (1 << 20) // elements)
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(turns):
        for name, call in candidates.items():
            call()
            started = time.perf_counter()
            for _ in range(repeats):
                call()
            seconds[name].append((time.perf_counter() - started) / repeats)
    nanoseconds = {
        name: [round(float(q) / elements * 1e9, 4) for q in numpy.quantile(times, [0.2, 0.5, 0.8])]
        for name, times in seconds.items()
    }
    median = {name: quantiles[1] for name, quantiles in nanoseconds.items()}
    return {
        "ns": nanoseconds,
        "turns": turns,
        "times_torch": round(median["torch"] / median["faithful"], 3),
        "over_memory": round(median["faithful"] / median["memory"], 3),
        "exact_over_faithful": round(median["exact"] / median["faithful"], 3),
    }


def describe(item: Mapping[str, Any]) -> str:
    """Return one line about one timed item."""
    setting = Setting(*(item[field] for field in Setting._fields))
    return (
        f"{setting.key(item['direction']):66} {item['times_torch']:6.2f}x torch, "
        f"{item['over_memory']:.2f} of memory time, exact {item['exact_over_faithful']:.2f} of faithful"
    )


def overhead(path: Path, functional: Callable[[Tensor], Tensor], elements: int = 16, turns: int = 15) -> dict[str, Any]:
    """Add to `path` the microseconds a call of SiLU on a tiny tensor takes through torch and through our doors.

    `functional`: the public function, which lies above this package.
    """
    from hillock.activations.catalogue import find
    from hillock.kernels import apply

    activation = find("silu")
    constants = activation.constants()
    x = torch.randn(elements, generator=generator(0, "overhead"))
    call = native.bind("silu", constants).forward
    candidates = {
        "torch": lambda: torch.nn.functional.silu(x),
        "operator": lambda: call(x),
        "apply": lambda: apply(activation, x, constants),
        "functional": lambda: functional(x),
    }
    seconds: dict[str, list[float]] = {key: [] for key in candidates}
    with torch.no_grad():
        for _ in range(turns):
            for key, candidate in candidates.items():
                started = time.perf_counter()
                for _ in range(2000):
                    candidate()  # type: ignore[no-untyped-call]
                seconds[key].append((time.perf_counter() - started) / 2000)
    microseconds = {key: round(float(numpy.median(values)) * 1e6, 3) for key, values in seconds.items()}
    kept = results_file.read(path)
    kept["overhead"] = {"elements": elements, "microseconds": microseconds, "commit": results_file.certify(kept)}
    results_file.write(path, kept)
    return microseconds
