"""hillock's loop against a bare torch loop with the same switches, turn by turn in one run.

    python benchmarks/loop.py --data ../shared/data/cifar10-jpeg --out benchmarks/results/loop_resnet20.json

The bare loop is what a person writes: forward under autocast, loss, backward, optimiser step, on batches that lie
in memory in the right layout. hillock's is the real one: it reads, augments and normalises its batches, follows a
schedule, counts errors, looks for NaN, and calls observers. Both train a ResNet-20 with bfloat16, channels-last,
torch.compile and the same allocator settings. An observer lets them take turns, so a machine whose speed drifts
slows both. What counts is the ratio within a round, by the wall clock and by the process's own CPU time, which on a
machine that others use as well is the fairer one.

Both make the very same training: the same initial weights, batches and rates, so that their weights stay equal to the
bit (checked and stored as `same_weights`). This matters, because the time of compiled code depends on the values: a
ResNet-20 trained with rate 0.001 took 12 % longer forward and 25 % longer backward than one trained with 0.1 in the
same process (three scratch runs of 10 to 16 rounds, not stored; denormal numbers are not the cause).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hillock import provenance
from hillock.training import Recipe, TrainingContext, train
from hillock.training.allocator import keep_memory
from hillock.training.run import build_network


@dataclasses.dataclass(frozen=True)
class Seconds:
    """A time by both clocks."""

    wall: float
    cpu: float

    @classmethod
    def now(cls) -> Seconds:
        """Return the time now."""
        return cls(time.perf_counter(), time.process_time())

    def __sub__(self, earlier: Seconds) -> Seconds:
        return Seconds(self.wall - earlier.wall, self.cpu - earlier.cpu)


class TakingTurns:
    """Runs as many bare steps after every block of hillock's, and times both."""

    def __init__(self, block: int, compiled: bool) -> None:
        self.block, self.compiled = block, compiled
        self.hillock: list[Seconds] = []
        self.bare: list[Seconds] = []
        self.same_weights = False
        self._given: list[tuple[Tensor, Tensor, float]] = []

    def begin(self, context: TrainingContext) -> None:
        """Build the bare loop's network and optimiser."""
        self._model = build_network(context.recipe, context.dataset.facts()).to(memory_format=torch.channels_last)
        self._forward = torch.compile(self._model) if self.compiled else self._model
        self._optimizer = torch.optim.SGD(
            self._model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=True
        )
        self._loss = nn.CrossEntropyLoss()
        self._start = Seconds.now()

    def _turn(self) -> Seconds:
        before = Seconds.now()
        for inputs, targets, rate in self._given:
            self._optimizer.param_groups[0]["lr"] = rate
            self._optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", torch.bfloat16):
                scores = self._forward(inputs)
            loss = self._loss(scores.float(), targets)
            loss.backward()
            self._optimizer.step()
        return Seconds.now() - before

    def after_step(self, context: TrainingContext) -> None:
        """After a block, note its time and give the bare loop its turn, with the batches that hillock just had."""
        assert context.last_batch is not None
        self._given.append((*context.last_batch, context.learning_rate))
        if len(self._given) == self.block:
            self.hillock.append(Seconds.now() - self._start)
            self.bare.append(self._turn())
            self._given.clear()
            self._start = Seconds.now()

    def after_evaluation(self, context: TrainingContext, line: Mapping[str, Any]) -> None:
        """Nothing to do."""

    def end(self, context: TrainingContext) -> None:
        """Compare what both have learned."""
        pairs = zip(context.model.state_dict().values(), self._model.state_dict().values(), strict=True)
        self.same_weights = all(torch.equal(one, other) for one, other in pairs)


def measure(source: str, *, rounds: int, block: int, compiled: bool, threads: int, own: bool) -> dict[str, Any]:
    """Return times, ratios and the share of waiting; the first round warms up and is left out.

    With `own` hillock chooses its switches itself; else it has those of the bare loop.
    """
    turns = TakingTurns(block, compiled)
    recipe = Recipe(
        data=source, network="resnet20", batch_size=128, steps=(rounds + 1) * block, epochs=100, limit=12_800
    )
    recipe = recipe.replace(threads=threads)
    if not own:
        recipe = recipe.replace(
            precision="bfloat16", channels_last="on", compile="on" if compiled else "off", fused="off"
        )
    with tempfile.TemporaryDirectory() as folder:
        run = train(recipe, out=Path(folder) / "run", observers=[turns], quiet=True)
        waiting = [line["waiting_share"] for line in run.record]
    ours, bare = turns.hillock[1:], turns.bare[1:]
    return {
        "network": "resnet20",
        "hillock_has": "its own choice" if own else "the bare loop's switches",
        "bare_compiled": compiled,
        "batch": 128,
        "rounds": rounds,
        "steps_a_round": block,
        "images_per_second": {
            "hillock": [128 * block / seconds.wall for seconds in ours],
            "bare": [128 * block / seconds.wall for seconds in bare],
        },
        "images_per_cpu_second": {
            "hillock": [128 * block / seconds.cpu for seconds in ours],
            "bare": [128 * block / seconds.cpu for seconds in bare],
        },
        "speed_ratio_hillock_over_bare": {
            "wall": spread([theirs.wall / mine.wall for theirs, mine in zip(bare, ours, strict=True)]),
            "cpu": spread([theirs.cpu / mine.cpu for theirs, mine in zip(bare, ours, strict=True)]),
        },
        # Of a step's time, the part spent waiting for the next batch; the last evaluation's line.
        "waiting_share": waiting[-1],
        "same_weights": turns.same_weights,
    }


def spread(values: list[float]) -> dict[str, Any]:
    """Return median, its 95 % interval by order statistics, quartiles and number."""
    lower, middle, upper = statistics.quantiles(values, n=4)
    count, ordered = len(values), sorted(values)
    outside = max(0, round((count - 1.96 * count**0.5) / 2) - 1)  # ranks below a binomial(n, 1/2)'s lower end
    return {
        "median": middle,
        "median_95": [ordered[outside], ordered[count - 1 - outside]],
        "quartile_25": lower,
        "quartile_75": upper,
        "n": count,
    }


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--block", type=int, default=8)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--eager", action="store_true", help="without torch.compile, in both")
    parser.add_argument("--own", action="store_true", help="let hillock choose its switches itself")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    allocator = keep_memory()
    options = {"rounds": arguments.rounds, "block": arguments.block, "threads": arguments.threads}
    result = measure(arguments.data, compiled=not arguments.eager, own=arguments.own, **options)
    result |= {"allocator_keeps_memory": allocator, "threads": arguments.threads, "provenance": provenance.collect()}
    print(json.dumps({name: value for name, value in result.items() if name != "provenance"}, indent=1))
    if arguments.out is not None:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
