"""Training: one recipe in, one run's folder out, nothing lost on the way.

Here belongs: recipes (one file a paper for the shipped ones), what the hardware is good at, the loop, the
observer protocol, checkpoints, the record, several processes, model parallelism.

Here never belongs: judging a network's health (diagnosis implements `Observer`; training never imports it), comparing
runs, drawing.

    recipe.py        the settings, TOML in and out            recipes/       one file a paper
    hardware.py      what the machine is good at, and why     allocator.py   keep freed memory
    loop.py          the one loop                             observer.py    what looks on
    schedule.py      the rate, a pure function                optimisers.py  SGD (two forms), AdamW, Muon, groups
    checkpoint.py    whole or not at all                      run_folder.py  claimed by one process; the record
    run.py           a run read back                          averaging.py   EMA, batch-norm statistics anew
    materials.py     network, optimiser, batches of a run     state.py       where a training stands
    assess.py        loss and error, the record's line        keeping.py     what to go on from
    distributed.py   several processes as one                 interruption.py  Ctrl-C and SIGTERM as a request
"""

from __future__ import annotations

import importlib
from typing import Any

# Loaded on first use: reading a recipe must not wait for everything that trains it.
_DEFINED_IN = {
    "Observer": "hillock.training.observer",
    "OptimizerSettings": "hillock.training.recipe",
    "Progress": "hillock.training.progress",
    "Recipe": "hillock.training.recipe",
    "Run": "hillock.training.run",
    "ScheduleSettings": "hillock.training.recipe",
    "TrainingContext": "hillock.training.observer",
    "recipe_names": "hillock.training.recipe",
    "train": "hillock.training.loop",
}

__all__ = sorted(_DEFINED_IN)


def __getattr__(name: str) -> Any:
    if name not in _DEFINED_IN:
        raise AttributeError(f"module 'hillock.training' has no attribute {name!r}")
    value = getattr(importlib.import_module(_DEFINED_IN[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
