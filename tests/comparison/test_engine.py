"""The engine: pairs whole, results kept, crashes contained, nothing left running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from hillock.comparison import Comparison, Progress, Study, compare
from hillock.comparison.engine import tasks_of
from hillock.errors import CheckpointError, TrainingError, UsageError

MakeStudy = Callable[..., Study]


def stored(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("seed-*.json"))}


def test_every_arm_meets_every_seed_and_seeds_come_whole(make_study: MakeStudy, folder: Path) -> None:
    study = make_study()
    tasks = tasks_of(study, folder)
    assert {(task.arm.name, task.seed) for task in tasks} == {(a.name, s) for a in study.arms for s in study.seeds}
    assert [task.seed for task in tasks] == sorted(task.seed for task in tasks)
    assert {tasks[3 * turn].arm.name for turn in range(3)} == {"relu", "gelu", "mish"}, "each arm is first in its turn"
    for seed in study.seeds:
        recipes = [task.recipe.replace(activation="relu") for task in tasks if task.seed == seed]
        assert all(recipe == recipes[0] for recipe in recipes)


def test_workers_give_what_one_process_gives(make_study: MakeStudy, folder: Path, fake: ModuleType) -> None:
    study = make_study(seeds=3)
    seen: list[Progress] = []
    alone = compare(study, out=folder / "alone", workers=0, runner=fake.train, progress=seen.append)
    crew = compare(study, out=folder / "crew", workers=2, runner=fake.train)
    assert stored(folder / "alone") == stored(folder / "crew")
    assert alone.outcomes == crew.outcomes
    assert seen[-1].finished == seen[-1].runs == 9
    assert seen[-1].epochs == seen[-1].epochs_to_train == 27


def test_the_folder_says_it_all(make_study: MakeStudy, folder: Path, fake: ModuleType) -> None:
    study = make_study()
    comparison = compare(study, out=folder, workers=0, runner=fake.train)
    assert Study.load(folder) == study
    again = Comparison.load(folder)
    assert again == comparison
    assert again.arms == comparison.arms
    written = json.loads((folder / "comparison.json").read_text())
    assert written["digest"] == study.digest
    assert {"commit", "torch", "processor", "workers"} <= set(written["provenance"])


def test_resume_makes_only_what_is_missing(
    make_study: MakeStudy, folder: Path, fake: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(seeds=3)
    before = compare(study, out=folder, workers=0, runner=fake.train)
    gone = folder / "runs" / "gelu" / "seed-1.json"
    gone.unlink()
    (folder / "comparison.json").unlink()
    made: list[tuple[str, int]] = []

    def counting(recipe, folder, progress, /):  # type: ignore[no-untyped-def]
        made.append((recipe.activation, recipe.seed))
        return fake.train(recipe, folder, progress)

    after = compare(study, out=folder, workers=0, runner=counting, resume=True)
    assert made == [("gelu", 1)]
    assert after.outcomes == before.outcomes


def test_seeds_may_be_added_and_the_look_is_noted(make_study: MakeStudy, folder: Path, fake: ModuleType) -> None:
    compare(make_study(seeds=3), out=folder, workers=0, runner=fake.train)
    more = compare(make_study(seeds=6), out=folder, workers=0, runner=fake.train, resume=True)
    assert more.looks == (3, 6)
    assert Comparison.load(folder).looks == (3, 6)
    assert len(more.outcomes) == 18
    with pytest.raises(CheckpointError, match="all seeds of the study"):
        compare(make_study(seeds=4), out=folder, workers=0, runner=fake.train, resume=True)


def test_a_folder_holds_one_study(make_study: MakeStudy, folder: Path, fake: ModuleType) -> None:
    compare(make_study(seeds=2), out=folder, workers=0, runner=fake.train)
    with pytest.raises(CheckpointError, match="--resume or --overwrite"):
        compare(make_study(seeds=2), out=folder, workers=0, runner=fake.train)
    with pytest.raises(CheckpointError, match="another rope"):
        compare(make_study(seeds=2, rope=0.5), out=folder, workers=0, runner=fake.train, resume=True)
    other = compare(make_study(seeds=2, rope=0.5), out=folder, workers=0, runner=fake.train, overwrite=True)
    assert Comparison.load(folder).study.rope == other.study.rope == 0.5


def test_what_is_not_a_study_is_left_alone(make_study: MakeStudy, folder: Path, fake: ModuleType) -> None:
    folder.mkdir()
    (folder / "thesis.tex").write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(CheckpointError, match=r"one that holds thesis\.tex"):
            compare(make_study(), out=folder, workers=0, runner=fake.train, overwrite=overwrite)
    assert (folder / "thesis.tex").read_text() == "precious"


def test_a_study_in_use_is_refused(make_study: MakeStudy, folder: Path, fake: ModuleType) -> None:
    import filelock

    folder.mkdir()
    with filelock.FileLock(folder / ".lock"), pytest.raises(CheckpointError, match="in use by another process"):
        compare(make_study(), out=folder, workers=0, runner=fake.train)


def test_a_crash_is_no_evidence(make_study: MakeStudy, folder: Path, fake: ModuleType) -> None:
    study = make_study(seeds=3)
    with pytest.raises(TrainingError, match=r"gelu, seed 1 crashed \(ZeroDivisionError: a fault.*--resume goes on"):
        compare(study, out=folder, workers=1, runner=fake.crash)
    assert "Traceback" in (folder / "runs" / "gelu" / "seed-1.crash.txt").read_text()
    kept = set(stored(folder))
    assert len(kept) >= 3
    assert "runs/gelu/seed-1.json" not in kept
    finished = compare(study, out=folder, workers=1, runner=fake.train, resume=True)
    assert len(finished.outcomes) == 9


def test_a_study_that_cannot_be_run_is_a_usage_error(make_study: MakeStudy, folder: Path, fake: ModuleType) -> None:
    with pytest.raises(UsageError, match="a picture size of 32, got 8"):
        compare(make_study(), out=folder, workers=1, runner=fake.unusable)


def test_a_killed_worker_is_replaced(make_study: MakeStudy, folder: Path, fake: ModuleType) -> None:
    finished = compare(make_study(seeds=2), out=folder, workers=2, runner=fake.die_once)
    assert len(finished.outcomes) == 6
    assert not any(outcome.failed for outcome in finished.outcomes)


def test_a_run_that_kills_every_worker_ends_the_study(make_study: MakeStudy, folder: Path, fake: ModuleType) -> None:
    with pytest.raises(TrainingError, match="ended with code -9 in the middle of the run: killed, or out of memory"):
        compare(make_study(seeds=2), out=folder, workers=1, runner=fake.die_always)


def test_a_worker_that_cannot_start_ends_the_study(make_study: MakeStudy, folder: Path) -> None:
    def runner(recipe, folder, progress, /):  # type: ignore[no-untyped-def]
        raise AssertionError

    runner.__module__ = "no_such_module_anywhere"
    with pytest.raises(TrainingError, match="ended with code 1 while starting"):
        compare(make_study(seeds=2), out=folder, workers=1, runner=runner)
    assert "no_such_module_anywhere" in (folder / "workers.log").read_text()


def is_running(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "State:\tZ" not in status.read_text()


def pids_in(folder: Path, count: int, process: subprocess.Popen[bytes] | None = None) -> list[int]:
    deadline = time.monotonic() + 300  # seconds; a busy machine takes its time to import torch
    while time.monotonic() < deadline:
        found = [int(path.name.removeprefix("pid-")) for path in folder.rglob("pid-*")]
        if len(found) >= count:
            return found
        assert process is None or process.poll() is None, "the study itself did not start"
        time.sleep(0.05)
    raise AssertionError("the workers did not start")


def assert_all_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + 60
    while any(map(is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_running, pids))


def test_control_c_leaves_no_worker_behind(make_study: MakeStudy, folder: Path, fake: ModuleType) -> None:
    pids: list[int] = []

    def interrupt() -> None:
        pids.extend(pids_in(folder, 2))
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        compare(make_study(seeds=2), out=folder, workers=2, runner=fake.slow)
    assert_all_gone(pids)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_workers_end_with_a_killed_study(make_study: MakeStudy, folder: Path, fake: ModuleType) -> None:
    script = (
        "import sys, fake_training; from hillock.comparison import Study, compare;"
        "compare(Study.load(sys.argv[1]), out=sys.argv[2], workers=1, runner=fake_training.slow)"
    )
    design = folder.with_suffix(".toml")
    design.write_text(make_study(seeds=1).to_toml())
    environment = os.environ | {"PYTHONPATH": str(Path(fake.__file__ or "").parent)}
    process = subprocess.Popen([sys.executable, "-c", script, str(design), str(folder)], env=environment)
    try:
        pids = pids_in(folder, 1, process)
    finally:
        process.kill()
        process.wait()
    assert_all_gone(pids)
