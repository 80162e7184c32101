"""Somebody else's network: built by a function in a file, examined on any data that hillock can load."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from hillock.errors import ModelError, UsageError

if TYPE_CHECKING:
    from hillock.data import DataSet

__all__ = ["built_network", "network_builder", "probe_batches"]


def network_builder(target: str) -> Callable[..., Any]:
    """Return the function that `FILE.py:FUNCTION` names. The file is run, as `python FILE.py` would run its top level.

    **Errors** `UsageError` for a file or a function that does not exist, `ModelError` for a file that raises.
    """
    place, _, name = target.rpartition(":")
    path = Path(place)
    if not path.is_file():
        raise UsageError("a run folder or FILE.py:FUNCTION", got=target, instead="model.py:build_model")
    specification = importlib.util.spec_from_file_location(f"hillock_target_{path.stem}", path)
    if specification is None or specification.loader is None:
        raise UsageError("a Python file before the colon", got=place, instead="model.py:build_model")
    module = importlib.util.module_from_spec(specification)
    sys.path.insert(0, str(path.parent.resolve()))  # so that the file can import its neighbours
    try:
        specification.loader.exec_module(module)
    except Exception as error:  # whatever somebody else's file raises
        raise ModelError(f"a file that can be run, {path}", got=f"{type(error).__name__}: {error}") from error
    finally:
        sys.path.pop(0)
    function = getattr(module, name, None)
    if not callable(function):
        known = [key for key, value in vars(module).items() if inspect.isfunction(value)]
        raise UsageError(f"a function in {path}", got=repr(name), instead=", ".join(known) or "defining one")
    found: Callable[..., Any] = function
    return found


def built_network(target: str) -> nn.Module:
    """Call the function that `FILE.py:FUNCTION` names and return the network it built."""
    build = network_builder(target)
    try:
        model = build()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"a network from {target} without arguments", got=f"{type(error).__name__}: {error}"
        ) from error
    if not isinstance(model, nn.Module):
        raise ModelError(f"a torch.nn.Module from {target}", got=type(model).__name__)
    return model


def probe_batches(dataset: DataSet, batch_size: int = 128) -> Any:
    """Return batches of training pictures, normalised, never augmented, the same every time."""
    from hillock import data

    size = min(batch_size, len(dataset.train))
    return data.Batches(dataset.train, size, seed=0, dataset=dataset).epoch(0)
