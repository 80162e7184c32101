"""hillock: the nonlinearities of deep networks and everything that decides whether a deep image classifier trains."""

from __future__ import annotations

import importlib
from typing import Any

# Public name -> where it is defined. Loaded on first use, so that `import hillock` is quick and has no side effects.
_DEFINED_IN = {
    "CheckpointError": "hillock.errors",
    "DataError": "hillock.errors",
    "DeclarationError": "hillock.errors",
    "HillockError": "hillock.errors",
    "ModelError": "hillock.errors",
    "TrainingError": "hillock.errors",
    "UnknownNameError": "hillock.errors",
    "UsageError": "hillock.errors",
}

__all__ = sorted(_DEFINED_IN)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _DEFINED_IN:
        raise AttributeError(f"module 'hillock' has no attribute {name!r}")
    value = getattr(importlib.import_module(_DEFINED_IN[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
