"""A run's folder: claimed by one process at a time, its files, and the record that only ever grows."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import filelock

from hillock.errors import CheckpointError
from hillock.training.checkpoint import CURRENT, PREVIOUS, disk_error, write_whole
from hillock.training.recipe import Recipe

__all__ = ["append_line", "begin", "claim", "drop_lines_after", "read_lines"]

RECIPE, RECORD, HEALTH, WEIGHTS, BEST = (
    "recipe.toml",
    "record.jsonl",
    "health.jsonl",
    "weights.safetensors",
    "best.safetensors",
)
PROVENANCE, DATA, LOCK = "provenance.json", "data.json", ".lock"
_OURS = (RECIPE, RECORD, HEALTH, WEIGHTS, BEST, PROVENANCE, DATA, CURRENT, PREVIOUS, "report.html")

# Settings that a resumed run may change: they decide how fast and how often, not what is learned.
_MAY_CHANGE = frozenset(
    (
        *("name", "about", "device", "precision", "channels_last", "compile", "fused", "memory"),
        *("threads", "accumulate"),
        *("checkpoint_minutes", "checkpoint_steps", "evaluate_every", "retries", "batch_norm"),
    )
)


@contextlib.contextmanager
def claim(folder: Path, recipe: Recipe, *, resume: bool, overwrite: bool) -> Iterator[None]:
    """Make the folder this run's own for the time being, and change nothing in it: that is for `begin`.

    A folder that was made here and stayed empty is removed again.

    Errors: `CheckpointError` when another process trains there, when it holds a run and neither `resume` nor
    `overwrite` was said, when it holds a run of another recipe, when it holds something else, or cannot be written.
    """
    made_here = not folder.exists()
    lock = filelock.FileLock(folder / LOCK, blocking=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except filelock.Timeout:
        raise CheckpointError(
            f"a run folder of its own, {folder} is in use by another process", instead="--out"
        ) from None
    except OSError as error:
        raise disk_error(error, folder / LOCK) from error
    try:
        _check(folder, recipe, resume=resume, overwrite=overwrite)
        yield
    finally:
        if made_here and _held(folder) == []:
            (folder / LOCK).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                folder.rmdir()
        lock.release()


def begin(folder: Path, recipe: Recipe, *, overwrite: bool) -> None:
    """Delete the run there when it is to be overwritten, and write the recipe.

    Called once everything that can be refused has been accepted. The old recipe goes last: what a kill leaves half
    deleted is still known as a run.
    """
    if overwrite:
        for name in sorted(_held(folder), key=lambda name: name == RECIPE):
            if name in _OURS or name.endswith(".partial"):
                (folder / name).unlink()
    write_whole(folder / RECIPE, recipe.to_toml())


def _held(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name != LOCK]


def _check(folder: Path, recipe: Recipe, *, resume: bool, overwrite: bool) -> None:
    """Refuse a folder that this run may not use."""
    held = _held(folder)
    foreign = [name for name in held if name not in _OURS and not name.endswith(".partial")]
    if RECIPE in held:
        if resume and not overwrite:
            _check_same(Recipe.load(folder / RECIPE), recipe)
        elif not overwrite:
            raise CheckpointError(f"a folder without a run, {folder} holds one", instead="--resume or --overwrite")
    elif foreign:
        raise CheckpointError(
            f"an empty folder or a run's, at {folder}", got=f"one that holds {foreign[0]}", instead="--out"
        )
    elif not overwrite and (left := [name for name in held if name in _OURS]):
        raise CheckpointError(
            f"the {RECIPE} of the run in {folder}", got=f"{left[0]} without it", instead="--overwrite, or another --out"
        )


def _check_same(before: Recipe, now: Recipe) -> None:
    """Refuse to resume a run with settings that would change what is learned."""
    old, new = before.model_dump(), now.model_dump()
    differing = sorted(name for name in new if old[name] != new[name] and name not in _MAY_CHANGE)
    if differing:
        first = differing[0]
        raise CheckpointError(
            f"the recipe that the run was started with ({first} = {old[first]!r})",
            got=f"{first} = {new[first]!r}",
            instead="another --out, or --overwrite",
        )


def append_line(path: Path, line: Mapping[str, Any]) -> None:
    """Append one JSON line and hand it to the disk. NaN and infinities are written as JSON's null."""
    text = json.dumps({key: _plain(value) for key, value in line.items()}, allow_nan=False)
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise disk_error(error, path) from error


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and (value != value or abs(value) == float("inf")) else value


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return a file's JSON lines; a last line that a kill or a full disk cut short is left out."""
    if not path.exists():
        return []
    lines: list[dict[str, Any]] = []
    texts = path.read_text(encoding="utf-8", errors="replace").split("\n")
    for number, text in enumerate(texts, 1):
        if not text.strip():
            continue
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            if number < len(texts):  # the last text is what follows the last line break: empty, or a torn line
                raise CheckpointError(f"JSON in line {number} of {path}", got=repr(text[:40])) from None
    return lines


def drop_lines_after(path: Path, step: int) -> None:
    """Take back lines of steps that a resumed run will do again, and a torn last line."""
    if path.exists():
        kept = [line for line in read_lines(path) if line.get("step", 0) <= step]
        write_whole(path, "".join(json.dumps(line) + "\n" for line in kept))
