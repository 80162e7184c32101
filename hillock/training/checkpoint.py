"""Checkpoints that survive: written whole or not at all, checksummed, with the one before kept."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from hillock.errors import CheckpointError, TrainingError

__all__ = ["load_checkpoint", "save_checkpoint", "write_whole"]

CURRENT, PREVIOUS = "checkpoint.pt", "checkpoint.previous.pt"
_MARK = b"\nhillock-checkpoint sha256:"
_FOOTER_BYTES = len(_MARK) + 64 + 1
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Write `state` as the folder's checkpoint; the one there becomes `checkpoint.previous.pt`.

    The file is what `torch.save` writes and a line with its SHA-256 (`torch.load` reads it all the same). It is written
    beside, synced to the disk, then renamed, so that a kill at any moment leaves a good one.

    Errors: `TrainingError` when the disk is full; the checkpoints there stay as they were.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getvalue()
    footer = _MARK + hashlib.sha256(payload).hexdigest().encode() + b"\n"
    with _whole_file(folder / CURRENT, rotate_to=folder / PREVIOUS) as file:
        file.write(payload)
        file.write(footer)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader, or a kill at any moment, sees the old content or the new, never a part."""
    with _whole_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def _whole_file(path: Path, rotate_to: Path | None = None) -> Iterator[io.BufferedWriter]:
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with beside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if rotate_to is not None and path.exists():
            path.replace(rotate_to)
        beside.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise disk_error(error, path) from error
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def disk_error(error: OSError, path: Path) -> Exception:
    """Return what to raise for a failed write: a sentence for a full disk or forbidden folder, else the error."""
    if error.errno in _FULL:
        return TrainingError(
            f"no space left (or a quota reached) while writing {path}; nothing before it is lost: "
            f"free some space and go on with --resume"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return CheckpointError(f"a folder that can be written, at {path.parent}", got=os.strerror(error.errno))
    return error


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def load_checkpoint(folder: Path, *, map_location: str = "cpu") -> tuple[dict[str, Any], str | None] | None:
    """Return the newest good checkpoint and, when that was not the newest, a sentence that says why; None without any.

    Errors: `CheckpointError` when there are checkpoints but all are damaged.
    """
    problems: list[str] = []
    for path in (folder / CURRENT, folder / PREVIOUS):
        if not path.exists():
            continue
        try:
            state = _read(path, map_location)
        except CheckpointError as error:
            problems.append(str(error.got))
            continue
        return state, (f"{problems[0]}; going on from {path.name} instead" if problems else None)
    if problems:
        raise CheckpointError("an undamaged checkpoint", got="; ".join(problems), instead="--overwrite to start again")
    return None


def _read(path: Path, map_location: str) -> dict[str, Any]:
    content = path.read_bytes()
    payload, footer = content[:-_FOOTER_BYTES], content[-_FOOTER_BYTES:]
    if not footer.startswith(_MARK):
        raise CheckpointError("a whole checkpoint", got=f"{path.name} is cut short (its checksum line is missing)")
    if footer[len(_MARK) : -1].decode("ascii", "replace") != hashlib.sha256(payload).hexdigest():
        raise CheckpointError("an unaltered checkpoint", got=f"{path.name} is damaged (its checksum does not fit)")
    try:
        state = torch.load(io.BytesIO(payload), map_location=map_location, weights_only=True)
    except (pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError) as error:
        raise CheckpointError("a hillock checkpoint", got=f"{path.name} cannot be read ({error})") from error
    assert isinstance(state, dict)
    return state
