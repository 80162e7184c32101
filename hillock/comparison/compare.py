"""From a study to a verdict: `compare(study) -> Comparison`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import filelock

from hillock import provenance
from hillock.comparison import engine, tuning
from hillock.comparison.design import Study
from hillock.comparison.outcome import Outcome, finite
from hillock.comparison.result import Comparison
from hillock.errors import CheckpointError
from hillock.training.checkpoint import write_whole

__all__ = ["compare"]

# What a study's folder holds; `overwrite` deletes these and nothing else.
_STUDY, _COMPARISON, _LOG, _REPORT = "study.toml", "comparison.json", "workers.log", "report.html"
_FOLDERS = ("runs", "tuned", "tuning")
_OURS = {_STUDY, _COMPARISON, _LOG, _REPORT, *_FOLDERS, ".lock"}


def compare(
    study: Study,
    *,
    out: Path | str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    workers: int | None = None,
    progress: Callable[[engine.Progress], None] | None = None,
    runner: engine.Runner | None = None,
) -> Comparison:
    """Train every arm with every seed, examine each network, and say which arm is better, and how sure that is.

    Args:
        study: the design. It is written to `study.toml` before anything is trained.
        out: the study's folder (default `runs/compare-<data>-<network>`): `study.toml`, `runs/` (one a run, with its
            outcome beside it), `comparison.json`; with tuning also `tuning/` and `tuned/`, the runs that count then.
        resume: go on with the study in that folder. The design must be the same; it may have more seeds.
        overwrite: delete the study in that folder first.
        workers: how many runs are trained side by side (default: one a core; one on a GPU; 0: in this process).
        progress: called with an `engine.Progress` after every epoch and run.
        runner: what trains one recipe, a function that worker processes can import (None: `one_run.py`'s).

    A training that fails is a result: it counts at chance. Stopped at any moment, `resume` goes on where it was.

    Errors: `CheckpointError` when the folder holds another study or is in use; `UsageError` when a run cannot be run as
    asked; `TrainingError` when a run crashed for a reason that is no evidence about its arm.

    >>> study = Study(arms=("relu", "gelu"), recipe=Recipe(data="digits", network="mlp2"), seeds=6)  # doctest: +SKIP
    >>> compare(study, out="runs/example").arm("gelu").verdict  # doctest: +SKIP
    'undecided'
    """
    chosen = _default_runner() if runner is None else runner
    out = default_folder(study) if out is None else Path(out)
    lock = filelock.FileLock(out / ".lock", blocking=False)
    out.mkdir(parents=True, exist_ok=True)
    try:
        with lock:
            looks = _prepare(study, out, resume=resume, overwrite=overwrite)
            tasks = engine.tasks_of(study, out)
            count = engine.default_workers(study.recipe, len(tasks)) if workers is None else workers

            def run(some: Sequence[engine.Task]) -> list[Outcome]:
                return engine.run_tasks(some, chosen, workers=count, progress=progress, log=out / _LOG)

            choices = tuning.tune(study, out, run) if study.tuning is not None else {}
            outcomes = run([*tasks, *engine.tasks_of(study, out, choices)] if choices else tasks)
            untuned, final = (outcomes[: len(tasks)], outcomes[len(tasks) :]) if choices else ([], outcomes)
            if not looks or looks[-1] != len(study.seeds):
                looks = (*looks, len(study.seeds))
            facts = {**provenance.collect(), "workers": count}
            comparison = Comparison(study, tuple(final), facts, looks, out, choices, tuple(untuned))
            text = json.dumps(finite(comparison.to_dict()), indent=1, allow_nan=False, ensure_ascii=False)
            write_whole(out / _COMPARISON, text + "\n")
            return comparison
    except filelock.Timeout:
        raise CheckpointError(
            f"a folder of its own, {out} is in use by another process", instead="another --out"
        ) from None


def _default_runner() -> engine.Runner:
    # Imported only here: reading a finished comparison needs none of what trains one.
    from hillock.comparison.one_run import train_and_examine

    return train_and_examine


def default_folder(study: Study) -> Path:
    """Return `runs/compare-<data>-<network>`."""
    return Path("runs") / f"compare-{Path(study.recipe.data).stem}-{study.recipe.network}"


def _prepare(study: Study, out: Path, *, resume: bool, overwrite: bool) -> tuple[int, ...]:
    """Make the folder this study's, write down the design, and return the earlier looks at its result."""
    held = (out / _STUDY).exists()
    foreign = [path.name for path in out.iterdir() if path.name not in _OURS]
    if foreign and not held:
        raise CheckpointError(
            f"an empty folder or a study's, at {out}", got=f"one that holds {foreign[0]}", instead="another --out"
        )
    if held and overwrite:
        for name in (_STUDY, _COMPARISON, _LOG, _REPORT):
            (out / name).unlink(missing_ok=True)
        for name in _FOLDERS:
            shutil.rmtree(out / name, ignore_errors=True)
    elif held and not resume:
        raise CheckpointError(
            "a folder without a study", got=f"{out}, which holds one", instead="--resume or --overwrite"
        )
    looks: tuple[int, ...] = ()
    if (out / _STUDY).exists():
        _check_same(Study.load(out), study, out)
        if (out / _COMPARISON).exists():
            looks = tuple(json.loads((out / _COMPARISON).read_text(encoding="utf-8"))["looks"])
    write_whole(out / _STUDY, study.to_toml())
    return looks


def _check_same(before: Study, now: Study, out: Path) -> None:
    """Refuse to go on with another design, or with seeds taken away: that would be choosing after looking."""
    if before.digest != now.digest:
        old, new = before.to_dict(), now.to_dict()
        name = next(key for key in old if key != "seeds" and old[key] != new.get(key))
        raise CheckpointError(
            f"the design that the study in {out} was started with",
            got=f"another {name}",
            instead="another --out, or --overwrite",
        )
    if not set(before.seeds) <= set(now.seeds):
        raise CheckpointError(
            f"all seeds of the study in {out} and perhaps more", got=str(list(now.seeds)), instead="another --out"
        )
