"""A whole training on disks that fill up or may not be written."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hillock.data import DataSet
from hillock.errors import CheckpointError, DataError, TrainingError
from hillock.training import Recipe, Run, train

Same = Callable[[Run, Run], bool]


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A small file system in memory; skips where mounting is not allowed."""
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if subprocess.run(words, capture_output=True).returncode:
        pytest.skip("may not mount a small file system here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_training_stops_when_the_disk_is_full_and_goes_on_when_it_is_not(
    small: Recipe, digits: DataSet, tmp_path: Path, same: Same
) -> None:
    recipe = small.replace(checkpoint_steps=2, **{"network_options.width": 64})
    whole = train(recipe, out=tmp_path / "whole", dataset=digits)
    with mounted(tmp_path / "small", "size=160k") as disk:
        with pytest.raises(TrainingError, match=r"no space left.*--resume"):
            train(recipe, out=disk / "run", dataset=digits)
        assert not list((disk / "run").glob("*.partial"))
        subprocess.run(["mount", "-o", "remount,size=2m", str(disk)], check=True)
        run = train(recipe, out=disk / "run", dataset=digits, resume=True)
        assert same(whole, run)
        assert [line["test_loss"] for line in run.record] == [line["test_loss"] for line in whole.record]


def test_a_read_only_folder_gets_a_sentence(small: Recipe, digits: DataSet, tmp_path: Path) -> None:
    with (
        mounted(tmp_path / "fixed", "ro,size=100k") as disk,
        pytest.raises(CheckpointError, match=r"a folder that can be written.*Read-only file system"),
    ):
        train(small, out=disk / "run", dataset=digits)


def test_vanished_data_get_a_sentence_and_the_run_stays(small: Recipe, digits: DataSet, tmp_path: Path) -> None:
    train(small, out=tmp_path / "run", dataset=digits)
    before = sorted(path.name for path in (tmp_path / "run").iterdir())
    with pytest.raises(DataError, match="exists"):
        train(small.replace(data=str(tmp_path / "gone")), out=tmp_path / "other")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == before
