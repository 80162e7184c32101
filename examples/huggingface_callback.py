"""Watch a Hugging Face training: `Trainer(..., callbacks=[HillockHealth(batch)])`.

`batch` is what the data collator makes, with labels in it: a mapping that the model takes as keywords and answers with
a `.loss`. The class derives from `TrainerCallback` where transformers is installed.
"""

from __future__ import annotations

import contextlib
from typing import Any

import hillock

try:
    from transformers import TrainerCallback
except ImportError:
    TrainerCallback = object


class HillockHealth(TrainerCallback):  # type: ignore[misc, valid-type]
    """Examine the network while the Trainer trains it.

    **Arguments**

    - `batch`: a mapping of keywords with labels, kept for all probes. `every`: steps between probes, at least.

    After training, `diagnosis` holds what was found; each probe's loss goes to the Trainer's log as `health_loss`.
    """

    def __init__(self, batch: Any, every: int = 50) -> None:
        super().__init__()
        self.batch, self.every = batch, every
        self.diagnosis: hillock.Diagnosis | None = None
        self._stack = contextlib.ExitStack()
        self._health: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        self._health = self._stack.enter_context(hillock.watch(model, self.batch, self.every))

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        if logs is not None and self._health is not None and self._health.lines:
            logs["health_loss"] = self._health.lines[-1]["loss"]

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._stack.close()
        self.diagnosis = self._health.diagnosis
