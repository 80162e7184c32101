"""How fast a training step is: stock torch, tuned torch and hillock's fused layers, side by side in one run.

Each way of training (`WAYS`) is warmed up in a process of its own, because allocator settings cannot be taken back.
Then the ways take turns, a few steps at a time, so that a machine whose speed drifts slows all of them; while one runs,
the others wait for a word on their standard input. What counts is the ratio of two ways within a round.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from hillock import provenance
from hillock.errors import UnknownNameError, UsageError
from hillock.layers.fused import fuse
from hillock.networks import network
from hillock.randomness import generator
from hillock.training.allocator import keep_memory

__all__ = ["WAYS", "Setting", "Way", "time_ways"]


@dataclass(frozen=True)
class Way:
    """One way to run the same training step."""

    words: str
    precision: str = "bfloat16"
    channels_last: bool = True
    compiled: bool = False
    keeps_memory: bool = False
    fused: bool = False


WAYS: dict[str, Way] = {
    "plain": Way("plain eager float32, as torch starts out", precision="float32", channels_last=False),
    "stock": Way("torch.compile, bfloat16 autocast, channels-last, fused SGD", compiled=True),
    "tuned": Way("stock, and the allocator keeps freed memory", compiled=True, keeps_memory=True),
    "eager": Way("tuned without torch.compile", keeps_memory=True),
    "hillock": Way("eager, and the fused layers", keeps_memory=True, fused=True),
}


_TORCH: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "elu": nn.ELU,
}


@dataclass(frozen=True)
class Setting:
    """What is trained: a network on random pictures, whose values cost the same as real ones."""

    network: str = "resnet20"
    activation: str = "relu"
    image_size: int = 32
    batch_size: int = 128
    threads: int = 1


def time_ways(
    setting: Setting,
    ways: Sequence[str],
    *,
    rounds: int = 5,
    steps: int = 4,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Return seconds a step of each way, all rounds, with medians, spreads and ratios to the last way; JSON-ready.

    Arguments:
        setting: what is trained. ways: names in `WAYS`, at least two; ratios are of each one's time to the last one's.
        rounds: turns each way gets. steps: steps a turn, of which the median counts. progress: is told what happens.
    """
    for way in ways:
        if way not in WAYS:
            raise UnknownNameError("way to train", way, WAYS)
    if len(ways) < 2 or rounds < 2:
        raise UsageError("at least two ways and two rounds", got=f"{len(ways)} and {rounds}")
    workers = {way: _Worker(way, setting) for way in ways}
    try:
        first = {}
        for way, worker in workers.items():
            first[way] = worker.ask("warm-up")[0]
            if progress:
                progress(f"{way}: warmed up in {first[way]:.1f} s")
        turns: dict[str, list[float]] = {way: [] for way in ways}
        for number in range(rounds):
            for way, worker in workers.items():
                turns[way].append(statistics.median(worker.ask(f"steps {steps}")))
            if progress:
                now = ", ".join(f"{way} {setting.batch_size / turns[way][-1]:.0f}" for way in ways)
                progress(f"round {number + 1} of {rounds}: {now} images/s")
        peak = {way: worker.ask("peak")[0] for way, worker in workers.items()}
    finally:
        for worker in workers.values():
            worker.close()
    return {
        "setting": setting.__dict__,
        "rounds": rounds,
        "steps_per_round": steps,
        "ways": {way: _summary(way, setting, turns, ways[-1], first[way], peak[way]) for way in ways},
        "provenance": provenance.collect(),
    }


def _summary(
    way: str, setting: Setting, turns: Mapping[str, list[float]], reference: str, warm_up: float, peak: float
) -> dict[str, Any]:
    ratios = [mine / theirs for mine, theirs in zip(turns[way], turns[reference], strict=True)]
    return {
        "words": WAYS[way].words,
        "seconds_per_step": turns[way],
        "images_per_second": setting.batch_size / statistics.median(turns[way]),
        f"time_over_{reference}": {"median": statistics.median(ratios), "low": min(ratios), "high": max(ratios)},
        "warm_up_seconds": warm_up,
        "peak_resident_megabytes": peak,
    }


class _Worker:
    """A process that has one way ready and runs steps when asked."""

    def __init__(self, way: str, setting: Setting) -> None:
        code = f"from hillock.training import step_timing as s; s.serve({way!r}, s.Setting(**{setting.__dict__!r}))"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, question: str) -> list[float]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(question + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the timed process ended with code {self.process.wait()}")
        found: list[float] = json.loads(answer)
        return found

    def close(self) -> None:
        self.process.communicate(timeout=30)  # closes its input, which ends it


def serve(way_name: str, setting: Setting) -> None:
    """Answer questions on standard input until it ends: `warm-up`, `steps N`, `peak`; each answer is a line of JSON."""
    way = WAYS[way_name]
    torch.set_num_threads(setting.threads)
    if way.keeps_memory:
        keep_memory()
    step: Callable[[], None] | None = None
    for line in sys.stdin:
        words = line.split()
        if words[0] == "warm-up":
            started = time.perf_counter()
            step = _step(way, setting)
            for _ in range(3):
                step()
            answer = [time.perf_counter() - started]
        elif words[0] == "steps":
            assert step is not None
            answer = [_timed(step) for _ in range(int(words[1]))]
        else:
            import resource

            answer = [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]  # Linux counts kilobytes
        print(json.dumps(answer), flush=True)


def _timed(step: Callable[[], None]) -> float:
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


def _step(way: Way, setting: Setting) -> Callable[[], None]:
    """Return a function that does one whole step: forward, loss, backward, update."""
    # Torch's ways get torch's own activation, so that they are what somebody without hillock would run.
    activation = setting.activation if way.fused else _TORCH.get(setting.activation, setting.activation)
    model = network(setting.network, activation=activation, num_classes=10, image_size=setting.image_size)
    layout = torch.channels_last if way.channels_last else torch.contiguous_format
    model = model.to(memory_format=layout)  # type: ignore[call-overload]
    if way.fused:
        fuse(model)
    forward: nn.Module | Callable[..., Any] = torch.compile(model) if way.compiled else model
    optimizer = torch.optim.SGD(
        model.parameters(), 0.01, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=way.precision == "bfloat16"
    )
    draws = generator(0, "step timing")
    size = setting.image_size
    pictures = torch.randn(setting.batch_size, 3, size, size, generator=draws).contiguous(memory_format=layout)
    targets = torch.randint(10, (setting.batch_size,), generator=draws)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=way.precision == "bfloat16"):
            loss = F.cross_entropy(forward(pictures), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()

    return step
