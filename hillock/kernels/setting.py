"""What the user chose for the whole process: the precision of the kernels."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Literal

from hillock.errors import UsageError

__all__ = ["Precision", "current", "precision"]

Precision = Literal["faithful", "exact"]


class _Current:
    """One mutable cell, so that a change is seen by everybody who imported it (and guarded on by Dynamo)."""

    def __init__(self) -> None:
        self.precision: Precision = "faithful"
        self.when_changed: list[Callable[[], None]] = []

    def set(self, precision: Precision) -> None:
        """Change the precision and tell those who keep something that depends on it."""
        if precision == self.precision:
            return
        self.precision = precision
        for tell in self.when_changed:
            tell()


current = _Current()


class precision:
    """Choose how exact the kernels are: from now on, or for the length of a `with` block.

    Args:
        level: "faithful" (default): error below 1 unit in the last place for every float32 input, in value and
            derivative, at the speed of memory. "exact": at most 0.5001 units for float32 and the nearest value for
            every bfloat16 and float16 input (float64 inside, one rounding), at up to seven times the time
            (docs/kernels.md).

    Float64 input is computed in float64 either way. A backward pass uses the precision of its forward pass.

    >>> from hillock import kernels
    >>> with kernels.precision("exact"):
    ...     kernels.setting.current.precision
    'exact'
    >>> kernels.setting.current.precision
    'faithful'
    """

    def __init__(self, level: Precision) -> None:
        if level not in ("faithful", "exact"):
            raise UsageError('a precision that is "faithful" or "exact"', got=repr(level))
        self.before = current.precision
        current.set(level)

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        current.set(self.before)
