"""Checkpoints: whole or not at all, whatever happens to the disk."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from hillock.errors import CheckpointError, TrainingError
from hillock.training.checkpoint import CURRENT, PREVIOUS, load_checkpoint, save_checkpoint, write_whole


def state(step: int) -> dict[str, Any]:
    return {"step": step, "weights": torch.full((1000,), float(step))}


def step_of(folder: Path) -> tuple[int, str | None]:
    found = load_checkpoint(folder)
    assert found is not None
    return found[0]["step"], found[1]


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A folder with the checkpoints of steps 1 and 2."""
    for step in (1, 2):
        save_checkpoint(tmp_path, state(step))
    return tmp_path


def test_the_newest_is_loaded_and_the_one_before_kept(two: Path) -> None:
    assert step_of(two) == (2, None)
    assert sorted(path.name for path in two.iterdir()) == [PREVIOUS, CURRENT]


def test_torch_reads_it_too(two: Path) -> None:
    assert torch.load(two / CURRENT, weights_only=True)["step"] == 2


def test_without_any_there_is_none(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path) is None


@pytest.mark.parametrize("kept", [0, 1, 100, -1, -90])
def test_a_truncated_one_is_noticed_and_the_one_before_used(two: Path, kept: int) -> None:
    content = (two / CURRENT).read_bytes()
    (two / CURRENT).write_bytes(content[:kept])
    step, warning = step_of(two)
    assert step == 1
    assert warning is not None
    assert "going on from checkpoint.previous.pt" in warning


@pytest.mark.parametrize("place", [0, 0.3, 0.6, 0.9, 0.999])
def test_one_flipped_bit_is_noticed(two: Path, place: float) -> None:
    content = bytearray((two / CURRENT).read_bytes())
    content[int(place * len(content))] ^= 1
    (two / CURRENT).write_bytes(bytes(content))
    assert step_of(two)[0] == 1


def test_when_all_are_damaged_a_sentence_says_so(two: Path) -> None:
    for name in (CURRENT, PREVIOUS):
        (two / name).write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"undamaged checkpoint.*cut short.*--overwrite"):
        load_checkpoint(two)


def test_a_kill_between_the_two_renames_leaves_the_one_before(two: Path) -> None:
    (two / CURRENT).replace(two / PREVIOUS)
    assert step_of(two) == (2, None)


# Fills a file system of 300 kB, or meets a file-size limit of as much, which a quota looks like.
FILL = """
import signal, sys, torch
from pathlib import Path
from hillock.errors import TrainingError
from hillock.training.checkpoint import load_checkpoint, save_checkpoint
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
folder = Path(sys.argv[1])
save_checkpoint(folder, {"step": 1, "weights": torch.zeros(10_000)})
try:
    save_checkpoint(folder, {"step": 2, "weights": torch.zeros(200_000)})
except TrainingError as error:
    print(error)
print(sorted(path.name for path in folder.iterdir()), load_checkpoint(folder)[0]["step"])
"""


def fill(folder: Path, **options: Any) -> str:
    words = [sys.executable, "-c", FILL, str(folder)]
    return subprocess.run(words, capture_output=True, text=True, check=True, **options).stdout


def check_filled(output: str) -> None:
    assert "no space left (or a quota reached)" in output
    assert "--resume" in output
    assert output.endswith("['checkpoint.pt'] 1\n")


def test_a_full_disk_keeps_the_good_checkpoint(tmp_path: Path) -> None:
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(tmp_path)], capture_output=True)
    if mounted.returncode:
        pytest.skip("may not mount a small file system here")
    try:
        check_filled(fill(tmp_path))
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_file_size_limit_keeps_the_good_checkpoint(tmp_path: Path) -> None:
    check_filled(
        fill(tmp_path, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY)))
    )


def test_a_failed_write_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_whole(tmp_path / "file", "old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TrainingError, match="no space left"):
        write_whole(tmp_path / "file", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"


def test_a_folder_that_cannot_be_written_gets_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Root may write everywhere, so the refusal is planted where the system would give it.
    def refuse(self: Path, *arguments: Any, **options: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(CheckpointError, match=r"a folder that can be written.*Permission denied"):
        save_checkpoint(tmp_path, state(1))
