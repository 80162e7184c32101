"""Train every arm with every seed: side by side in worker processes, each result kept as soon as it is there."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from hillock.comparison import crew
from hillock.comparison.design import Arm, Study
from hillock.comparison.outcome import Outcome
from hillock.errors import TrainingError, UsageError
from hillock.training.checkpoint import CURRENT, PREVIOUS
from hillock.training.recipe import Recipe

if TYPE_CHECKING:
    from hillock.comparison.tuning import Choice

__all__ = ["Progress", "Runner", "Task", "cores", "default_workers", "run_tasks", "tasks_of"]


class Runner(Protocol):
    """Train one recipe in one folder, going on from what the folder holds, and return what `Outcome` is made of.

    That is `scores`, `chance`, `curve` and so on; `failure` where the training itself gave up, which is a result. Any
    exception stops the study. `progress(epochs_done)` is called as epochs end. Workers import it by its name.
    """

    __module__: str
    __qualname__: str

    def __call__(self, recipe: Recipe, folder: Path, progress: Callable[[float], None], /) -> Mapping[str, Any]: ...


@dataclasses.dataclass(frozen=True)
class Task:
    """One run to be made."""

    arm: Arm
    seed: int
    recipe: Recipe
    folder: Path

    @property
    def result_path(self) -> Path:
        """Where the outcome is kept: beside the run's folder."""
        return self.folder.with_name(self.folder.name + ".json")


@dataclasses.dataclass
class Progress:
    """How far a study is. Handed to the caller's `progress` after every change."""

    runs: int
    """Runs to be made in all, those found finished included."""
    finished: int = 0
    failed: int = 0
    """Of the finished: trainings that gave up."""
    epochs: float = 0.0
    """Epochs trained since the start, over all runs."""
    epochs_to_train: float = 0.0
    message: str = ""


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_workers(recipe: Recipe, runs: int) -> int:
    """Return how many runs to train at once: one a core, or one in all on a GPU.

    Small networks use one core each far better than one network uses many.
    """
    import torch

    on_gpu = recipe.device.startswith("cuda") or (recipe.device == "auto" and torch.cuda.is_available())
    return 1 if on_gpu else max(1, min(cores(), runs))


def tasks_of(study: Study, out: Path, choices: Mapping[str, Choice] | None = None) -> list[Task]:
    """Return all runs of a study, seed by seed, so that a study stopped early holds whole pairs.

    The order of the arms turns with the seed: no arm is always trained first, when the machine is cold or busy. With
    `choices` the runs are those with each arm's tuned settings.
    """
    tasks = []
    place = out / ("runs" if choices is None else "tuned")
    for turn, seed in enumerate(study.seeds):
        for index in range(len(study.arms)):
            arm = study.arms[(index + turn) % len(study.arms)]
            if choices is not None:
                arm = Arm(name=arm.name, changes={**arm.changes, **choices[arm.name].settings})
            folder = place / arm.folder / f"seed-{seed}"
            tasks.append(Task(arm, seed, study.recipe_for(arm, seed), folder))
    return tasks


def run_tasks(
    tasks: Sequence[Task],
    runner: Runner,
    *,
    workers: int,
    progress: Callable[[Progress], None] | None = None,
    log: Path | None = None,
) -> list[Outcome]:
    """Make every run that has no result yet and return the outcomes, in the order of the tasks.

    With 0 workers the runs are made one after the other in this process. `log` receives what the workers print.

    Errors: a `UsageError` of the first run that cannot be run as asked; `TrainingError` when a run crashed for a reason
    that says nothing about its arm (the results so far are kept).
    """
    done = {id(task): outcome for task in tasks if (outcome := _kept(task)) is not None}
    todo = [task for task in tasks if id(task) not in done]
    state = Progress(runs=len(tasks), finished=len(done), epochs_to_train=float(sum(t.recipe.epochs for t in todo)))
    state.failed = sum(outcome.failed for outcome in done.values())
    board = _Board(state, progress or (lambda _: None))
    board.show("")
    make = _in_workers if workers > 0 else _here
    for task, outcome in make(todo, runner, min(workers, len(todo)), board, log):
        task.result_path.parent.mkdir(parents=True, exist_ok=True)
        outcome.write(task.result_path)
        for name in (CURRENT, PREVIOUS):  # only an unfinished run needs them, and they are most of its bytes
            (task.folder / name).unlink(missing_ok=True)
        done[id(task)] = outcome
        board.finished(task, outcome)
    return [done[id(task)] for task in tasks]


def _kept(task: Task) -> Outcome | None:
    """Return the outcome of an earlier session if it is of this very recipe."""
    if not task.result_path.exists():
        return None
    outcome = Outcome.read(task.result_path)
    if outcome.recipe_digest != recipe_digest(task.recipe):
        raise UsageError(
            f"the results of one study in {task.folder.parent.parent}",
            got=f"{task.result_path.name} of another recipe",
            instead="another --out, or --overwrite",
        )
    return outcome


def recipe_digest(recipe: Recipe) -> str:
    """Return a short fingerprint of a recipe, without the settings that decide only where it runs."""
    fields = {name: value for name, value in recipe.to_dict().items() if name not in ("threads", "checkpoint_minutes")}
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]


class _Board:
    """Adds up the progress of all runs."""

    def __init__(self, state: Progress, show: Callable[[Progress], None]) -> None:
        self._state, self._show = state, show
        self._epochs: dict[tuple[str, int], float] = {}

    def show(self, message: str) -> None:
        self._state.message = message
        self._state.epochs = sum(self._epochs.values())
        self._show(dataclasses.replace(self._state))

    def epoch(self, task: Task, epoch: float) -> None:
        self._epochs[task.arm.name, task.seed] = epoch
        self.show(f"{task.arm.name}, seed {task.seed}")

    def finished(self, task: Task, outcome: Outcome) -> None:
        self._epochs[task.arm.name, task.seed] = task.recipe.epochs
        self._state.finished += 1
        self._state.failed += outcome.failed
        self.show(f"{task.arm.name}, seed {task.seed}: {outcome.failure or 'done'}")


def _outcome(task: Task, result: Mapping[str, Any]) -> Outcome:
    return Outcome.from_dict(
        {
            "curve": (),
            **result,
            "arm": task.arm.name,
            "seed": task.seed,
            "recipe_digest": recipe_digest(task.recipe),
        }
    )


def _raise(task: Task, problem: Mapping[str, Any]) -> NoReturn:
    """Raise for a run that ended in an exception."""
    if problem["kind"] == "usage":
        raise UsageError(problem["expected"], got=problem["got"], instead=problem["instead"])
    where = f"{task.arm.name}, seed {task.seed}"
    task.folder.parent.mkdir(parents=True, exist_ok=True)
    task.result_path.with_suffix(".crash.txt").write_text(problem["traceback"], encoding="utf-8")
    raise TrainingError(
        f"the run of {where} crashed ({problem['sentence']}); its traceback is in "
        f"{task.result_path.with_suffix('.crash.txt')}, the other results are kept, and --resume goes on"
    )


def _here(
    todo: Sequence[Task], runner: Runner, workers: int, board: _Board, log: Path | None
) -> Iterator[tuple[Task, Outcome]]:
    """Make the runs in this process, one after the other. Exceptions pass as they are."""
    for task in todo:
        result = runner(task.recipe, task.folder, lambda epoch, task=task: board.epoch(task, epoch))  # type: ignore[misc]
        yield task, _outcome(task, result)


def _in_workers(
    todo: Sequence[Task], runner: Runner, workers: int, board: _Board, log: Path | None
) -> Iterator[tuple[Task, Outcome]]:
    """Make the runs in worker processes, each with its share of the cores."""
    jobs = [{"recipe": task.recipe.model_dump(mode="json"), "folder": str(task.folder)} for task in todo]
    address = f"{runner.__module__}:{runner.__qualname__}"
    for index, event in crew.work(jobs, address, workers=workers, threads=max(1, cores() // max(1, workers)), log=log):
        task = todo[index]
        if event["event"] == "epoch":
            board.epoch(task, event["epoch"])
        elif event["event"] == "done":
            yield task, _outcome(task, event["result"])
        else:
            _raise(task, event)
