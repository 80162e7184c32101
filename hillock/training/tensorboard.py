"""A training followed in TensorBoard (the extra `tensorboard`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hillock.errors import UsageError
from hillock.training.observer import TrainingContext

__all__ = ["TensorBoard"]


class TensorBoard:
    """Writes every number of the record, and the loss of every `every`-th step, to `<run>/tensorboard`.

    **Example** `hillock.train(recipe, observers=[TensorBoard()])`, then `tensorboard --logdir runs`.

    Errors: `UsageError` when TensorBoard is not installed.
    """

    def __init__(self, every: int = 20) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise UsageError(
                "the package tensorboard", got="none", instead="pip install 'hillock[tensorboard]'"
            ) from None
        self._writer_class = SummaryWriter
        self.every = every

    def begin(self, context: TrainingContext) -> None:
        """Open the files; after a resume, what was written beyond the checkpoint is hidden."""
        self._writer = self._writer_class(str(context.folder / "tensorboard"), purge_step=context.step + 1)

    def after_step(self, context: TrainingContext) -> None:
        """Write the loss and the rate now and then."""
        if context.step % self.every == 0 and context.last_loss is not None:
            self._write("step/loss", float(context.last_loss), context.step)
            self._write("step/learning_rate", context.learning_rate, context.step)

    def after_evaluation(self, context: TrainingContext, line: Mapping[str, Any]) -> None:
        """Write the record's line."""
        for name, value in line.items():
            if isinstance(value, int | float) and name not in ("epoch", "step"):
                self._write(f"evaluation/{name}", value, context.step)

    def end(self, context: TrainingContext) -> None:
        """Close the files."""
        self._writer.close()

    def _write(self, name: str, value: float, step: int) -> None:
        self._writer.add_scalar(name, value, step)
