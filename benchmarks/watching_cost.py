"""What watching costs: one training, alternately watched and not, in short stretches.

    python benchmarks/watching_cost.py [resnet20|resnet18] [SECONDS] > benchmarks/results/watching_cost_NETWORK.json

The watched steps use the defaults of `HealthObserver` as `hillock train` attaches it, and only they count for its
budget: the recorder's clock stands still while the other stretches run.

* `cost`: time of a watched step over that of its unwatched neighbours, minus 1, with an interval from the pairs. It
  holds the later probes, but not the first, which is made before the first step whatever it takes. Other work on the
  machine makes this difference of two long times a rough one.
* `outside`: the same without the time that the recorder's own clock counted: what watching costs and it does not know.
* `cost_with_first_probe`: what that clock counted, the first probe included, over the rest of the watched time. Over a
  short training the first probe alone can exceed the budget; `within_budget_from_step` says from when on it does not.
* `own_figure`: the share that the recorder prints in the report. `seconds["call"]`: of a call that does not probe.
"""

from __future__ import annotations

import json
import math
import sys
import time
from typing import Any

import numpy
import torch
from scipy import stats
from torch import nn

from hillock import provenance
from hillock.diagnosis.interval import mean_interval
from hillock.diagnosis.recorder import Recorder
from hillock.diagnosis.watch import HealthObserver
from hillock.networks import network
from hillock.randomness import generator

SETTINGS: dict[str, dict[str, Any]] = {
    "resnet20": {"image_size": 32, "batch": 64, "stretch": 20},
    "resnet18": {"image_size": 96, "batch": 32, "stretch": 4},
}
WATCHED = 3  # watched stretches to an unwatched one: more of the machine's time for what is measured


class Training:
    """A training that can be continued for a few steps, with or without the recorder."""

    def __init__(self, name: str) -> None:
        setting = SETTINGS[name]
        side, self.batch = setting["image_size"], setting["batch"]
        self.model = network(name, image_size=side).to(memory_format=torch.channels_last)
        draws = generator(0, "watching cost")
        self.inputs = torch.randn(512, 3, side, side, generator=draws).to(memory_format=torch.channels_last)
        self.targets = torch.randint(10, (512,), generator=draws)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9)
        probes = [(self.inputs[start : start + 128], self.targets[start : start + 128]) for start in range(0, 512, 128)]
        default = HealthObserver()
        self.recorder = Recorder(
            self.model, probes, optimizer=self.optimizer, every=default.every, budget=default.budget
        )
        self.step = self.watched_steps = 0

    def stretch(self, steps: int, *, watched: bool) -> tuple[float, float, float]:
        """Train on and return the seconds it took: by the clock, without what the recorder counted, of processors."""
        began, processors, spent = time.perf_counter(), time.process_time(), self.recorder.spent
        for _ in range(steps):
            start = self.step * self.batch % 512
            self.optimizer.zero_grad()
            loss = nn.functional.cross_entropy(
                self.model(self.inputs[start : start + self.batch]), self.targets[start : start + self.batch]
            )
            loss.backward()
            self.optimizer.step()
            self.step += 1
            if watched:
                self.watched_steps += 1
                self.recorder.after_step(self.watched_steps, loss)
        seconds = time.perf_counter() - began
        if not watched:
            self.recorder.started += seconds
        return seconds, seconds - (self.recorder.spent - spent), time.process_time() - processors


def call_seconds(recorder: Recorder, step: int, calls: int = 1000) -> float:
    """Mean time of one call after a step that is not the recorder's turn."""
    loss = torch.ones(())
    idle = step - step % recorder.every + 1
    began = time.perf_counter()
    for _ in range(calls):
        recorder.after_step(idle, loss)
    return (time.perf_counter() - began) / calls


def cost(pairs: numpy.ndarray) -> dict[str, Any]:
    """Seconds of a watched stretch over those of its neighbour, minus 1 (pairs [N, 2]): mean with t interval, median.

    The median's interval is that of the sign test (order statistics): other work on the machine lengthens single
    stretches, which moves a mean far and a median little.
    """
    ratios = numpy.sort(pairs[:, 0] / pairs[:, 1] - 1)
    mean, half = mean_interval(ratios.tolist())
    rank = max(0, int(stats.binom.ppf(0.025, len(ratios), 0.5)) - 1)
    return {
        "mean": mean,
        "interval": [mean - half, mean + half],
        "median": float(numpy.median(ratios)),
        "median_interval": [float(ratios[rank]), float(ratios[-1 - rank])],
    }


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "resnet20"
    ends = time.perf_counter() + (float(sys.argv[2]) if len(sys.argv) > 2 else 200.0)
    setting = SETTINGS[name]
    steps = setting["stretch"]
    training = Training(name)
    recorder = training.recorder
    training.stretch(steps, watched=False)  # warm up
    recorder.begin()
    begin_seconds = recorder.spent
    times: list[tuple[tuple[float, ...], tuple[float, ...]]] = []
    watched_seconds = 0.0
    while len(times) < 2 or time.perf_counter() < ends:
        # Which comes first alternates, so that a machine that slows down slows both. Only equal stretches side by side
        # are compared: of a skewed disturbance a longer one would catch more.
        unwatched_first = len(times) % 2 == 0
        apart = [] if unwatched_first else [training.stretch(steps, watched=True)[0] for _ in range(WATCHED - 1)]
        seconds = {
            watched: training.stretch(steps, watched=watched) for watched in (not unwatched_first, unwatched_first)
        }
        apart += [training.stretch(steps, watched=True)[0] for _ in range(WATCHED - 1)] if unwatched_first else []
        watched_seconds += math.fsum(apart) + seconds[True][0]
        times.append((seconds[True], seconds[False]))
    measured = numpy.array(times)  # [N, 2, 3]: pair, watched or not, clock or outside probes or processors
    pairs = measured[:, :, 0]
    step = float(numpy.median(pairs[:, 1])) / steps
    later = recorder.spent - begin_seconds
    print(
        json.dumps(
            {
                "provenance": provenance.collect(),
                "network": name,
                **setting,
                "every": recorder.every,
                "budget": recorder.budget,
                "pairs": len(times),
                "cost": cost(pairs),
                "outside": cost(measured[:, :, 1]),
                "cost_of_processors": cost(measured[:, :, 2]),
                "cost_with_first_probe": (later + begin_seconds) / (watched_seconds - later),
                "own_figure": recorder.share,
                "probes": len(recorder.lines),
                "watched_steps": training.watched_steps,
                "probe_steps": [line["step"] for line in recorder.lines],
                # The first probe's time over the budget; later probes wait until they fit.
                "within_budget_from_step": math.ceil(begin_seconds / recorder.budget / step),
                # What one more probe of the latest kind has to wait for.
                "steps_between_probes": max(recorder.every, math.ceil(recorder.last_cost / recorder.budget / step)),
                "seconds": {
                    "first_probe": begin_seconds,
                    "last_probe": recorder.last_cost,
                    "step": step,
                    "call": call_seconds(recorder, training.watched_steps),
                },
                "stretches": [[[round(one, 3) for one in both] for both in pair] for pair in times],
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
