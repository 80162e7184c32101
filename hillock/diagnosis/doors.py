"""Two doors to one forward pass: torch functions above autograd, and the operators below it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from hillock.diagnosis.site import Response

__all__ = ["Functions", "Measured", "Observer", "Operators", "without_fused_cell"]


class Observer(Protocol):
    """What the doors hand their calls to."""

    trace_non_finite: bool

    @property
    def paused(self) -> bool:
        """True while the observer itself computes."""

    def call(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one function."""

    def operator(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one operator."""

    def look_for_non_finite(self, function: Callable[..., Any], out: Any) -> None:
        """Look at a result."""


class Functions(TorchFunctionMode):
    """Hands every torch function call to the observer."""

    def __init__(self, observer: Observer) -> None:
        super().__init__()
        self.observer = observer

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.observer.paused:
            return func(*args, **(kwargs or {}))
        out = self.observer.call(func, args, kwargs or {})
        if self.observer.trace_non_finite:
            self.observer.look_for_non_finite(func, out)
        return out


class Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Hands every operator below autograd to the observer."""

    def __init__(self, observer: Observer) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.observer = observer

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.observer.operator(func, args, kwargs or {})


class Measured:
    """A response below autograd: its slope is a central difference in float64, as no derivative is recorded there."""

    STEP = 1e-4

    def __init__(self, response: Response) -> None:
        self.response = response

    def __call__(self, values: Tensor) -> Tensor:
        return self.response(values)

    def slope(self, z: Tensor) -> Tensor:
        wide = z.detach().double()
        rise = self.response(wide + self.STEP) - self.response(wide - self.STEP)
        return (rise / (2 * self.STEP)).to(z.dtype)


def without_fused_cell(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a recurrent function with oneDNN off: its fused cell shows nothing of what happens inside."""
    backend: Any = torch.backends.mkldnn
    before = backend.enabled
    backend.enabled = False
    try:
        return function(*args, **kwargs)
    finally:
        backend.enabled = before
