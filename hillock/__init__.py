"""hillock: the nonlinearities of deep networks and everything that decides whether a deep image classifier trains."""

from __future__ import annotations

import importlib
from typing import Any

# Public name -> where it is defined. Loaded on first use, so that `import hillock` is quick and has no side effects.
_DEFINED_IN = {
    "Activation": "hillock.activations",
    "CheckpointError": "hillock.errors",
    "Comparison": "hillock.comparison",
    "DataError": "hillock.errors",
    "DeclarationError": "hillock.errors",
    "Diagnosis": "hillock.diagnosis",
    "Finding": "hillock.diagnosis",
    "HillockError": "hillock.errors",
    "ModelError": "hillock.errors",
    "Recipe": "hillock.training.recipe",
    "Run": "hillock.training.run",
    "Study": "hillock.comparison",
    "TrainingError": "hillock.errors",
    "UnknownNameError": "hillock.errors",
    "UsageError": "hillock.errors",
    "act_layer": "hillock.layers.activation_layer",
    "activation": "hillock.layers.activation_layer",
    "catalogue": "hillock.activations.catalogue",
    "compare": "hillock.comparison",
    "diagnose": "hillock.diagnosis",
    "functional": "hillock.functional",
    "gain": "hillock.activations.moments",
    "lean": "hillock.kernels",
    "network": "hillock.networks",
    "replace_activations": "hillock.layers.replace",
    "summarise": "hillock.networks",
    "train": "hillock.training.loop",
    "watch": "hillock.diagnosis",
}

__all__ = sorted(_DEFINED_IN)


def __getattr__(name: str) -> Any:
    if name not in _DEFINED_IN:
        raise AttributeError(f"module 'hillock' has no attribute {name!r}")
    module = importlib.import_module(_DEFINED_IN[name])
    value = module if _DEFINED_IN[name] == f"hillock.{name}" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
