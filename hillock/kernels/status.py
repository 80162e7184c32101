"""Which path computes which activation here, and why: `hillock.kernels.status()` and `hillock bench --status`."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hillock.activations.catalogue import CATALOGUE
from hillock.activations.declaration import Activation
from hillock.kernels import build, native

__all__ = ["Row", "Status", "status"]

_CPU_DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


@dataclass(frozen=True)
class Row:
    """One function on one dtype and device."""

    function: str
    dtype: str
    device: str
    path: str
    """`native, tables` (or `float32`, `float64 inside`), or `reference` (torch, float64 inside where it matters)."""
    reason: str


@dataclass(frozen=True)
class Status:
    """The answer to "what runs here?"."""

    native: bool
    reason: str
    """Where the native library was loaded from, or why there is none."""
    compiler: str
    rows: tuple[Row, ...]

    def __str__(self) -> str:
        lines = [f"native kernels: {'yes' if self.native else 'no'} ({self.reason})", f"compiler: {self.compiler}", ""]
        grouped: dict[tuple[str, str, str, str], list[str]] = {}
        for row in self.rows:
            grouped.setdefault((row.function, row.device, row.path, row.reason), []).append(row.dtype)
        for (function, device, path, reason), dtypes in grouped.items():
            lines.append(f"{function:22} {device:5} {path:24} {', '.join(dtypes)}  ({reason})")
        return "\n".join(lines)


def status() -> Status:
    """Return the path of every activation of the catalogue, with the default values of its parameters.

    >>> status().rows[0].device
    'cpu'
    """
    try:
        compiler = build.compiler()
    except build.BuildError as error:
        compiler = str(error)
    rows = [
        _row(activation, dtype, "cpu")
        for activation in CATALOGUE
        if isinstance(activation, Activation)
        for dtype in _CPU_DTYPES
    ]
    if torch.cuda.is_available():
        for activation in CATALOGUE:
            if isinstance(activation, Activation):
                rows.append(_row(activation, torch.float32, "cuda"))
    return Status(build.available(), build.reason(), compiler, tuple(rows))


def _row(activation: Activation, dtype: torch.dtype, device: str) -> Row:
    name = str(dtype).removeprefix("torch.")
    if device != "cpu":
        return Row(activation.name, name, device, "reference", "the native kernels are for CPUs")
    if native.supports(activation.name, activation.constants(), dtype, device):
        if native.has_tables(activation.name) and dtype != torch.float64:
            return Row(activation.name, name, device, "native, tables", "AVX512, for standard parameters")
        if native.is_single(activation.name) and dtype in (torch.float32, torch.bfloat16):
            return Row(activation.name, name, device, "native, float32", "a few operations, one rounding")
        inside = "long double" if dtype == torch.float64 else "float64"
        why = "float64 data" if dtype == torch.float64 else "no table is made for it on this processor"
        return Row(activation.name, name, device, f"native, {inside} inside", why)
    if not native.available():
        return Row(activation.name, name, device, "reference", native.reason())
    return Row(activation.name, name, device, "reference", "a few torch operations are enough, or not written yet")
