"""What a comparison does with one recipe: train it, examine the network, and note which test pictures it got right."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from hillock import diagnosis
from hillock.comparison.outcome import pack_bits
from hillock.data import Batches, DataSet
from hillock.data.text import looks_like_text
from hillock.errors import TrainingError, UsageError
from hillock.training.loop import train
from hillock.training.observer import TrainingContext
from hillock.training.recipe import Recipe
from hillock.training.run import Run

__all__ = ["train_and_examine"]

# Progress is told this often, so that talking about a training of milliseconds a step costs nothing.
_SECONDS_BETWEEN_REPORTS = 0.25
_EVALUATION_BATCH = 200


def train_and_examine(recipe: Recipe, folder: Path, progress: Callable[[float], None], /) -> dict[str, Any]:
    """Train in the folder, going on from its last checkpoint, and return what `Outcome` is made of.

    A training that gives up (its loss is no longer finite) is returned as a failure. A full disk is none: that raises.
    """
    if looks_like_text(recipe.data) or recipe.data.startswith("stream:"):
        raise UsageError("pictures that are kept, to compare which of them are told right", got=recipe.data)
    onlooker = _Onlooker(progress)
    failure = None
    try:
        train(recipe, out=folder, resume=True, observers=(onlooker,), quiet=True)
    except TrainingError as problem:
        if isinstance(problem.__cause__, OSError) or onlooker.context is None:
            raise
        failure = str(problem)
    context = onlooker.context
    assert context is not None, "every run, a finished one too, shows itself to its observers"
    run = Run.open(folder)
    result: dict[str, Any] = {
        "chance": _chance(len(context.dataset.class_names)),
        "curve": run.record,
        "failure": failure,
        "parameters": sum(parameter.numel() for parameter in context.model.parameters()),
        "scores": {},
    }
    if failure is None:
        result["scores"] = {name: value for name, value in run.final.items() if name in _METRICS and value is not None}
        result["seconds"] = run.final["seconds"]
        result["images_per_second"] = run.final.get("images_per_second")
        result["correct"] = _correct(run, context)
        result["health"] = diagnosis.diagnose_run(folder).to_dict()
    return result


_METRICS = ("test_error", "test_loss", "validation_error", "train_error", "train_loss")


def _chance(classes: int) -> Mapping[str, float]:
    """Return what guessing scores: an error of 1 - 1/C, and a cross-entropy of ln C nats."""
    error, loss = 1 - 1 / classes, math.log(classes)
    return {
        "test_error": error,
        "validation_error": error,
        "train_error": error,
        "test_loss": loss,
        "train_loss": loss,
    }


@torch.no_grad()
def _correct(run: Run, context: TrainingContext) -> str:
    """Return for each test picture whether the final network finds its class, packed."""
    model = run.load_model().to(context.device)
    dataset = context.dataset
    assert isinstance(dataset, DataSet)
    hits = []
    for inputs, targets in Batches(dataset.test, _EVALUATION_BATCH, dataset=dataset).evaluation():
        with context.autocast():
            scores = model(inputs.to(context.device))
        hits.append(scores.argmax(1).cpu() == targets)
    return pack_bits(torch.cat(hits).numpy())


class _Onlooker:
    """Watches a training: how far it is, and with what data, model and precision it runs."""

    def __init__(self, progress: Callable[[float], None]) -> None:
        self.context: TrainingContext | None = None
        self._progress, self._told = progress, 0.0

    def begin(self, context: TrainingContext) -> None:
        """Remember the context."""
        self.context = context

    def after_step(self, context: TrainingContext) -> None:
        """Tell the epochs done, as a fraction."""
        now = time.monotonic()
        if now - self._told >= _SECONDS_BETWEEN_REPORTS:
            self._told = now
            self._progress(context.step / context.steps_per_epoch)

    def after_evaluation(self, context: TrainingContext, line: Mapping[str, Any]) -> None:
        """Do nothing."""

    def end(self, context: TrainingContext) -> None:
        """Do nothing."""
