"""How fast the native kernels are beside torch and beside plain memory traffic.

All candidates of an item (torch, `faithful`, `exact`, `copy_`, `mul(out=)`) take turns within one run, so a machine
whose speed drifts slows all of them; ratios of medians are what to look at. Outputs are allocated before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy
import torch
from torch import Tensor

from hillock import provenance
from hillock.kernels import native
from hillock.kernels.verify import DEFAULTS
from hillock.randomness import generator

__all__ = ["TORCH", "measure", "overhead"]

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
        lambda g, x, y, out: _ATEN.hardswish_backward(g, x),
    ),
}


def measure(
    names: Iterable[str] | None = None,
    *,
    sizes: Iterable[int] = (16, 20, 24),
    dtypes: Iterable[torch.dtype] = (torch.float32,),
    deviations: Iterable[float] = (1.0,),
    threads: Iterable[int] = (1,),
    channels_last: bool = False,
    turns: int = 15,
    progress: Callable[[str], None] = print,
) -> list[dict[str, Any]]:
    """Time forward and backward. `sizes` are exponents of two; inputs are drawn from N(0, deviation²).

    Returns an item per function, direction, size, dtype, deviation and number of threads, with the 20 %, 50 % and 80 %
    quantiles of nanoseconds an element for each candidate, over `turns` turns, and the ratios of medians.
    """
    items = []
    before = torch.get_num_threads()
    try:
        for count in threads:
            torch.set_num_threads(count)
            for size in sizes:
                for dtype in dtypes:
                    for deviation in deviations:
                        for name in names or TORCH:
                            tensors = _tensors(size, dtype, deviation, channels_last)
                            for item in _pair(name, tensors, turns):
                                item |= {
                                    "size": 1 << size, "dtype": str(dtype).removeprefix("torch."), "threads": count,
                                    "deviation": deviation,
                                    "layout": "channels_last" if channels_last else "contiguous",
                                    "turns": turns,
                                }  # fmt: skip
                                items.append(item)
                                progress(describe(item))
    finally:
        torch.set_num_threads(before)
    certificate = provenance.collect()
    return [{**item, "provenance": certificate} for item in items]


def _tensors(size: int, dtype: torch.dtype, deviation: float, channels_last: bool) -> tuple[Tensor, Tensor]:
    source = generator(0, "speed", size)
    shape = (1 << (size - 12), 64, 8, 8) if channels_last else (1 << size,)
    x = (torch.randn(shape, generator=source) * deviation).to(dtype)
    g = torch.randn(shape, generator=source).to(dtype)
    if channels_last:
        x, g = x.to(memory_format=torch.channels_last), g.to(memory_format=torch.channels_last)
    return x, g


def _pair(name: str, tensors: tuple[Tensor, Tensor], turns: int) -> list[dict[str, Any]]:
    x, g = tensors
    constants = DEFAULTS.get(name, {})
    out, other, y = torch.empty_like(x), torch.empty_like(x), torch.empty_like(x)
    ahead, back = TORCH[name]
    ahead(x, y)
    forward: dict[str, Callable[[], Any]] = {
        "torch": lambda: ahead(x, out),
        "faithful": lambda: native.forward_(name, x, constants, "faithful", other),
        "exact": lambda: native.forward_(name, x, constants, "exact", other),
        "memory": lambda: out.copy_(x),
    }
    backward: dict[str, Callable[[], Any]] = {
        "torch": lambda: back(g, x, y, out),
        "faithful": lambda: native.backward_(name, g, x, constants, "faithful", other),
        "exact": lambda: native.backward_(name, g, x, constants, "exact", other),
        "memory": lambda: torch.mul(g, x, out=out),
    }
    return [
        {"function": name, "direction": "forward", **_timed(forward, x.numel(), turns)},
        {"function": name, "direction": "backward", **_timed(backward, x.numel(), turns)},
    ]


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
        "nanoseconds_an_element": nanoseconds,
        "times_torch": round(median["torch"] / median["faithful"], 3),
        "over_memory": round(median["faithful"] / median["memory"], 3),
        "exact_over_faithful": round(median["exact"] / median["faithful"], 3),
    }


def describe(item: Mapping[str, Any]) -> str:
    """Return one line about one timed item."""
    return (
        f"{item['function']:10} {item['direction']:8} 2^{item['size'].bit_length() - 1:<2} {item['dtype']:8} "
        f"sd {item['deviation']:g} threads {item['threads']}: {item['times_torch']:6.2f}x torch, "
        f"{item['over_memory']:.2f} of memory time, exact {item['exact_over_faithful']:.2f} of faithful"
    )


def overhead(name: str = "silu", elements: int = 16, turns: int = 15) -> dict[str, Any]:
    """Return microseconds a call on a tiny tensor: torch's function, the operator, and `hillock.kernels.apply`."""
    from hillock.activations.catalogue import find
    from hillock.kernels import apply

    activation = find(name)
    constants = activation.constants()
    x = torch.randn(elements, generator=generator(0, "overhead"))
    call = native.bind(name, constants).forward
    candidates = {
        "torch": lambda: torch.nn.functional.silu(x),
        "operator": lambda: call(x),
        "apply": lambda: apply(activation, x, constants),
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
    return {"function": name, "elements": elements, "microseconds": microseconds, "provenance": provenance.collect()}
