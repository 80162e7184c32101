"""SIGKILL at random moments: nothing is lost but the steps since the last checkpoint."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

import pytest
import torch

from hillock.data import DataSet
from hillock.training import Recipe, Run, keeping, train
from hillock.training.checkpoint import load_checkpoint
from hillock.training.run_folder import read_lines

KILLS = 20
# Every second step a checkpoint, so that many kills fall into the writing of one.
RECIPE = Recipe(network="mlp", network_options={"width": 16}, limit=240, epochs=6, batch_size=32, checkpoint_steps=2)

# What an interrupted run may say differently in a line of its record.
CLOCK = ("seconds", "images_per_second", "waiting_share")


def train_in_child(folder: str) -> None:
    torch.set_num_threads(1)
    train(RECIPE, out=folder, resume=True, quiet=True)


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Processes that start in milliseconds, because the server they are forked from has imported everything."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["hillock.training.loop", "hillock.networks", "torch._dynamo", "sklearn.datasets"])
    return context


def start(processes: ForkServerContext, folder: Path) -> ForkServerProcess:
    process = processes.Process(target=train_in_child, args=(str(folder),))
    process.start()
    return process


def wait_for(condition: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.001)


def test_killed_at_random_moments_and_resumed_the_weights_are_the_same(
    processes: ForkServerContext, tmp_path: Path
) -> None:
    """One run, killed again and again, each time a random while after it has kept something new."""
    whole = train(RECIPE, out=tmp_path / "whole")
    draw = random.Random(20)  # fixed, though the moments still vary with the machine
    folder, kills = tmp_path / "killed", 0
    for attempt in range(KILLS):
        if attempt and (folder / "weights.safetensors").exists():
            check_same(Run.open(folder), whole)
            folder = tmp_path / f"killed{attempt}"
        process = start(processes, folder)
        checkpoint = folder / "checkpoint.pt"
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        wait_for(lambda: not process.is_alive() or (checkpoint.exists() and checkpoint.stat().st_mtime_ns != before))  # noqa: B023
        time.sleep(draw.uniform(0, 0.03))
        if process.is_alive():
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
        found = load_checkpoint(folder)
        assert found is not None
        assert found[1] is None, "a killed run left a damaged checkpoint"
    check_same(train(RECIPE, out=folder, resume=True), whole)
    assert kills >= KILLS // 2


def check_same(run: Run, whole: Run) -> None:
    one, other = run.load_model().state_dict(), whole.load_model().state_dict()
    assert all(torch.equal(one[name], other[name]) for name in other)
    assert [meaning(line) for line in read_lines(run.folder / "record.jsonl")] == [
        meaning(line) for line in whole.record
    ]


def meaning(line: dict[str, Any]) -> dict[str, Any]:
    """Return what a line says of the training, without what the clock decides."""
    return {name: value for name, value in line.items() if name not in CLOCK}


def test_a_kill_releases_the_folder(processes: ForkServerContext, tmp_path: Path) -> None:
    process = start(processes, tmp_path / "run")
    wait_for(lambda: (tmp_path / "run" / "checkpoint.pt").exists() or not process.is_alive())
    process.kill()
    process.join()
    assert train(RECIPE, out=tmp_path / "run", resume=True).is_finished


@pytest.mark.parametrize("early", [None, 1])
def test_a_kill_between_the_last_checkpoint_and_the_weights(
    early: int | None, small: Recipe, digits: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left is to write the weights: no further step (batch norm would show it) and no further line."""
    recipe = small.replace(network="resnet8", network_options={"width": 4}, early_stopping=early, epochs=3)
    recipe = recipe.replace(**{"optimizer.learning_rate": 0.5}) if early else recipe
    whole = train(recipe, out=tmp_path / "whole", dataset=digits)
    save = keeping.save_weights

    def killed(materials: Any, name: str) -> None:
        if name == "weights.safetensors":
            raise KeyboardInterrupt
        save(materials, name)

    with monkeypatch.context() as patched:
        patched.setattr(keeping, "save_weights", killed)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, out=tmp_path / "killed", dataset=digits)
    check_same(train(recipe, out=tmp_path / "killed", dataset=digits, resume=True), whole)
