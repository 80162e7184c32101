"""Watch a Lightning training: `Trainer(callbacks=[HillockHealth(batch)])`.

The class only needs Lightning's hook names, so it also works with the older `pytorch_lightning`; it derives from
Lightning's `Callback` where that is installed.
"""

from __future__ import annotations

import contextlib
from typing import Any

import hillock

try:
    from lightning.pytorch import Callback
except ImportError:
    try:
        from pytorch_lightning import Callback
    except ImportError:
        Callback = object


class HillockHealth(Callback):  # type: ignore[misc, valid-type]
    """Examine the network while Lightning trains it.

    **Arguments**

    - `batch`: one (inputs, targets), kept for all probes; 299 samples or more let it call units dead.
    - `every`: optimiser steps between probes, at least. `stop_on`: severities at which training is stopped.

    After training, `diagnosis` holds what was found.
    """

    def __init__(self, batch: Any, every: int = 50, stop_on: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.batch, self.every, self.stop_on = batch, every, stop_on
        self.diagnosis: hillock.Diagnosis | None = None
        self._stack = contextlib.ExitStack()
        self._health: Any = None

    def on_train_start(self, trainer: Any, module: Any) -> None:
        self._health = self._stack.enter_context(hillock.watch(module, self.batch, self.every))

    def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
        lines = self._health.lines
        if self.stop_on and lines and any(found["severity"] in self.stop_on for found in lines[-1]["findings"]):
            trainer.should_stop = True

    def on_train_end(self, trainer: Any, module: Any) -> None:
        self._stack.close()
        self.diagnosis = self._health.diagnosis

    def on_exception(self, trainer: Any, module: Any, exception: BaseException) -> None:
        self._stack.close()
