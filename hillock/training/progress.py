"""Progress of a training as a value, and the bar that shows it."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

__all__ = ["Progress", "curve", "evaluation_text", "shown"]

log = logging.getLogger(__name__)

# Redrawing more often than the eye follows costs time that belongs to the training.
_SECONDS_BETWEEN_DRAWS = 0.2


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a training is."""

    step: int
    total_steps: int
    epoch: int
    """The epoch under way, from 1."""
    epochs: int
    loss: float
    """Of the latest batch."""
    error: float
    """Share of wrong answers in training since the last evaluation."""
    images_per_second: float
    line: Mapping[str, Any] | None = None
    """The record's new line, right after an evaluation."""


@contextlib.contextmanager
def shown(progress: Callable[[Progress], None] | None, *, quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """Give the function to call with each Progress: the caller's own, a bar on a terminal, else one that logs."""
    if progress is not None:
        yield progress
        return
    if quiet or not sys.stderr.isatty():
        yield _log_evaluation
        return
    with _bar() as show:
        yield show


def _log_evaluation(progress: Progress) -> None:
    if progress.line is not None:
        log.info("%s", evaluation_text(progress))


@contextlib.contextmanager
def _bar() -> Iterator[Callable[[Progress], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
        BarColumn(),
        TextColumn("loss {task.fields[loss]:.3f}  error {task.fields[error]:.1%}  {task.fields[rate]:,.0f} images/s"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        unknown = float("nan")
        task = bar.add_task("", total=None, epoch=1, epochs=1, loss=unknown, error=unknown, rate=unknown)
        drawn = 0.0

        def show(progress: Progress) -> None:
            nonlocal drawn
            if progress.line is not None:
                bar.console.print(evaluation_text(progress), highlight=False)
            now = time.monotonic()
            if now - drawn < _SECONDS_BETWEEN_DRAWS:
                return
            drawn = now
            bar.update(
                task,
                completed=progress.step,
                total=progress.total_steps,
                epoch=progress.epoch,
                epochs=progress.epochs,
                loss=progress.loss,
                error=progress.error,
                rate=progress.images_per_second,
            )

        yield show


def evaluation_text(progress: Progress) -> str:
    """Return an evaluation as one line of text."""
    line = progress.line
    assert line is not None
    parts = [f"epoch {line['epoch']:g}/{progress.epochs}", f"training loss {line['train_loss']:.4f}"]
    parts.append(f"training error {line['train_error']:.2%}")
    if line.get("validation_error") is not None:
        parts.append(f"validation error {line['validation_error']:.2%}")
    parts.append(f"test error {line['test_error']:.2%}")
    if line.get("images_per_second"):
        parts.append(f"{line['images_per_second']:,.0f} images/s")
    return "  ".join(parts)


def curve(values: Sequence[float], width: int = 40) -> str:
    """Return values as a line of blocks, the lowest flat, the highest full; of many values an even selection.

    >>> curve([4.0, 2.0, 1.0, 1.0])
    '█▃▁▁'
    """
    blocks = "▁▂▃▄▅▆▇█"
    count = min(width, len(values))
    chosen = [values[round(place * (len(values) - 1) / max(1, count - 1))] for place in range(count)]
    finite = [value for value in chosen if math.isfinite(value)]
    low, span = min(finite, default=0.0), (max(finite, default=0.0) - min(finite, default=0.0)) or 1.0
    top = len(blocks) - 1
    return "".join(blocks[round(top * (value - low) / span)] if math.isfinite(value) else "?" for value in chosen)
