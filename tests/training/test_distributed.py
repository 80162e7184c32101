"""Two processes with the same global batch are one training, and can be interrupted and go on."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import random
import signal
import socket
import subprocess
import sys
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest
import torch

from hillock.errors import TrainingError, UsageError
from hillock.training import Recipe, Run, train
from hillock.training.distributed import joined

RECIPE = Recipe(network="resnet8", network_options={"width": 4}, limit=240, batch_size=32, epochs=2, checkpoint_steps=3)


@dataclasses.dataclass
class Interrupt:
    """An observer that sends its own process a SIGTERM."""

    step: int

    def begin(self, context: Any) -> None: ...

    def after_step(self, context: Any) -> None:
        if context.step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)

    def after_evaluation(self, context: Any, line: Any) -> None: ...

    def end(self, context: Any) -> None: ...


def train_as(rank: int, port: int, recipe: Recipe, folder: str, interrupt_at: int) -> None:
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    observers = [Interrupt(interrupt_at)] if interrupt_at else []
    train(recipe, out=folder, resume=True, quiet=True, observers=observers)


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["hillock.training.loop", "hillock.networks", "torch._dynamo", "sklearn.datasets"])
    return context


def free_port() -> int:
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def train_together(
    processes: ForkServerContext, recipe: Recipe, folder: Path, *, interrupt_at: int = 0, exit_code: int = 0
) -> Run:
    port = free_port()
    both = [processes.Process(target=train_as, args=(rank, port, recipe, str(folder), interrupt_at)) for rank in (0, 1)]
    for process in both:
        process.start()
    for process in both:
        process.join(240)
    assert [process.exitcode for process in both] == [exit_code, exit_code]
    return Run.open(folder)


def weights(run: Run) -> torch.Tensor:
    return torch.cat([value.flatten().double() for value in run.load_model().state_dict().values()])


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(RECIPE, out=tmp_path_factory.mktemp("alone") / "run")


@pytest.fixture(scope="module")
def together(processes: ForkServerContext, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train_together(processes, RECIPE, tmp_path_factory.mktemp("together") / "run")


def test_two_processes_equal_one(alone: Run, together: Run) -> None:
    # Sums over the batch are taken in another order; 14 steps magnify that by the training's own sensitivity.
    assert torch.allclose(weights(alone), weights(together), rtol=1e-2, atol=2e-3)
    for one, other in zip(alone.record, together.record, strict=True):
        assert other["train_loss"] == pytest.approx(one["train_loss"], rel=1e-3)
        assert other["test_loss"] == pytest.approx(one["test_loss"], rel=1e-2)


def test_two_processes_read_a_text_like_one(processes: ForkServerContext, tmp_path: Path) -> None:
    """Rare words have clusters of the softmax to themselves, which many a batch does not visit."""
    draw = random.Random(0)
    words = ["often"] * 60 + [f"rare{number}" for number in range(20)]
    (tmp_path / "text.txt").write_text(" ".join(draw.choice(words) for _ in range(600)))
    recipe = Recipe.load("gcnn-2016").replace(data=str(tmp_path / "text.txt"), epochs=1, batch_size=2)
    recipe = recipe.replace(network_options={"width": 0.01}, **{"text.length": 8, "text.least_count": 1})
    alone = train(recipe, out=tmp_path / "alone")
    together = train_together(processes, recipe, tmp_path / "together")
    assert torch.allclose(weights(alone), weights(together), rtol=1e-2, atol=2e-3)
    assert together.final["test_loss"] == pytest.approx(alone.final["test_loss"], rel=1e-3)


def test_each_process_its_own_statistics_is_something_else(
    processes: ForkServerContext, alone: Run, tmp_path: Path
) -> None:
    own = train_together(processes, RECIPE.replace(batch_norm="per_process"), tmp_path / "run")
    assert not torch.allclose(weights(alone), weights(own), rtol=1e-2, atol=2e-3)


def test_both_stop_together_and_go_on_bit_for_bit(processes: ForkServerContext, together: Run, tmp_path: Path) -> None:
    train_together(processes, RECIPE, tmp_path / "run", interrupt_at=5, exit_code=128 + signal.SIGTERM)
    assert not (tmp_path / "run" / "weights.safetensors").exists()
    resumed = train_together(processes, RECIPE, tmp_path / "run")
    assert torch.equal(weights(resumed), weights(together))
    assert [line["train_loss"] for line in resumed.record] == [line["train_loss"] for line in together.record]


def test_one_process_goes_on_where_two_stopped(
    processes: ForkServerContext, alone: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train_together(processes, RECIPE, tmp_path / "run", interrupt_at=5, exit_code=128 + signal.SIGTERM)
    resumed = train(RECIPE, out=tmp_path / "run", resume=True)
    assert "processes was 2 and is now 1: the run goes on, but not bit for bit" in caplog.text
    assert torch.allclose(weights(alone), weights(resumed), rtol=1e-2, atol=2e-3)


def kill_oneself(context: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def train_and_report(rank: int, port: int, folder: str, told: Any) -> None:
    """The second process is killed in step 5; the first one tells what it made of that."""
    observers: list[Any] = [Interrupt(-1)]
    if rank == 1:
        # Observers are the first process's alone, so the kill is planted where every process passes.
        from hillock.training import loop

        update = loop._Session._update

        def killed(session: Any, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            if session.state.step == 5:
                kill_oneself(None)
            return update(session, inputs, targets)

        loop._Session._update = killed  # type: ignore[method-assign]
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    try:
        train(RECIPE, out=folder, quiet=True, observers=observers)
    except TrainingError as error:
        told.put(str(error))


def test_a_killed_process_stops_the_others_with_a_sentence(processes: ForkServerContext, tmp_path: Path) -> None:
    told = processes.Queue()
    port = free_port()
    both = [
        processes.Process(target=train_and_report, args=(rank, port, str(tmp_path / "run"), told)) for rank in (0, 1)
    ]
    for process in both:
        process.start()
    assert "another of the 2 processes has gone" in told.get(timeout=240)
    for process in both:
        process.join(60)
    assert train(RECIPE, out=tmp_path / "run", resume=True).is_finished


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="1 processes times 5 parts can share evenly, got 32"):
        train(RECIPE.replace(accumulate=5), out=tmp_path / "run")


def gloo_threads() -> list[str]:
    names = [task.read_text().strip() for task in Path("/proc/self/task").glob("*/comm")]
    return [name for name in names if "gloo" in name]


def leave_with_the_network_in_a_variable(rank: int, port: int) -> None:
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with joined("cpu") as world:
        wrapped = world.wrap(torch.nn.Linear(2, 2), torch.device("cpu"))
        wrapped(torch.ones(1, 2)).sum().backward()
        assert gloo_threads()
    assert not gloo_threads()
    assert isinstance(wrapped, torch.nn.Module)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the threads' names are read from Linux's /proc")
def test_the_group_ends_although_a_variable_keeps_the_network(processes: ForkServerContext) -> None:
    """Left to the network's reducer it would end later, with the interpreter held: now and then a deadlock."""
    port = free_port()
    both = [processes.Process(target=leave_with_the_network_in_a_variable, args=(rank, port)) for rank in (0, 1)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]


def test_torchrun_and_the_command_line(tmp_path: Path) -> None:
    words = ["train", "--data", "digits", "--network", "mlp", "--epochs", "1", "--set", "limit=240"]
    words += ["--health", "0", "--quiet", "--out"]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "hillock"]
    done = subprocess.run(
        [*launcher, *words, str(tmp_path / "run")],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("test error") == 1  # only the first process speaks
    assert Run.open(tmp_path / "run").is_finished
