"""The learning-rate range test, repeated over seeds, with an interval instead of one number."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from scipy import stats

from hillock.data import TrainingData
from hillock.errors import TrainingError, UsageError
from hillock.training.distributed import World
from hillock.training.gradient import batch_gradient
from hillock.training.materials import load_training_data, prepare, threads
from hillock.training.optimisers import set_rate
from hillock.training.recipe import Recipe

__all__ = ["RangeTest", "Sweep", "range_test"]

# The losses are smoothed by an exponential average with this weight on the past, as fastai does.
SMOOTHING = 0.9
# A sweep ends when the smoothed loss exceeds its minimum by this factor: the rate is too high. fastai: 4; 2 is reached
# earlier and at nearly the same rate, because the loss then climbs steeply.
TOO_HIGH = 2.0
# The suggested rate is a tenth of the rate at which the loss is lowest (fastai's "minimum / 10").
BELOW_MINIMUM = 10.0


@dataclasses.dataclass(frozen=True)
class Sweep:
    """One seed's sweep: the smoothed loss before each update, over the rate of that update."""

    seed: int
    rates: tuple[float, ...]
    losses: tuple[float, ...]

    @property
    def lowest(self) -> float:
        """The rate at which the smoothed loss is lowest."""
        return self.rates[min(range(len(self.losses)), key=self.losses.__getitem__)]

    @property
    def limit(self) -> float:
        """The highest rate reached before the loss climbed away."""
        return self.rates[-1]


@dataclasses.dataclass(frozen=True)
class RangeTest:
    """Sweeps over seeds and what follows from them."""

    sweeps: tuple[Sweep, ...]
    confidence: float = 0.95

    @property
    def suggestions(self) -> tuple[float, ...]:
        """One suggested rate a seed: a tenth of the rate with the lowest loss."""
        return tuple(sweep.lowest / BELOW_MINIMUM for sweep in self.sweeps)

    @property
    def suggestion(self) -> float:
        """The geometric mean over seeds."""
        return math.exp(sum(math.log(rate) for rate in self.suggestions) / len(self.sweeps))

    @property
    def interval(self) -> tuple[float, float]:
        """Student's interval of the mean, on the logarithmic scale (the whole line with one seed)."""
        logs = [math.log(rate) for rate in self.suggestions]
        count, mean = len(logs), sum(logs) / len(logs)
        if count < 2:
            return 0.0, math.inf
        spread = math.sqrt(sum((log - mean) ** 2 for log in logs) / (count - 1))
        half = float(stats.t.ppf(0.5 + self.confidence / 2, count - 1)) * spread / math.sqrt(count)
        return math.exp(mean - half), math.exp(mean + half)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            "suggestion": self.suggestion,
            "interval": self.interval,
            "confidence": self.confidence,
            "sweeps": [
                dataclasses.asdict(sweep) | {"lowest": sweep.lowest, "limit": sweep.limit} for sweep in self.sweeps
            ],
        }


def range_test(
    recipe: Recipe,
    *,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    low: float = 1e-5,
    high: float = 10.0,
    steps: int = 100,
    dataset: TrainingData | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> RangeTest:
    """Raise the rate from `low` to `high` in equal factors over `steps` updates, once a seed.

    Each seed has its own initial weights and data order. The recipe's schedule is not used. A sweep ends early when the
    smoothed loss is twice its minimum, or not finite. `progress` is called with (sweeps done, of).

    Source: Smith, arXiv:1506.01186, section 3.3; the smoothing and the tenth: fastai's `lr_find`.
    """
    if not 0 < low < high or steps < 10 or not seeds:
        raise UsageError("0 < low < high, at least 10 steps and a seed", got=f"{low}, {high}, {steps}, {list(seeds)}")
    data = load_training_data(recipe) if dataset is None else dataset
    sweeps = []
    with threads(recipe.threads):
        for number, seed in enumerate(seeds):
            sweeps.append(_sweep(recipe.replace(seed=seed), data, low, high, steps))
            progress(number + 1, len(seeds))
    return RangeTest(tuple(sweeps))


def _sweep(recipe: Recipe, dataset: TrainingData, low: float, high: float, steps: int) -> Sweep:
    # Compiling would take longer than the sweep.
    off = {"compile": "off"} if recipe.compile == "auto" else {}
    materials = prepare(recipe.replace(**off), dataset, Path(), World())
    materials.model.train()
    endless = itertools.chain.from_iterable(materials.batches.epoch(epoch) for epoch in itertools.count())
    rates: list[float] = []
    losses: list[float] = []
    average = 0.0
    for step, batch in enumerate(itertools.islice(endless, steps)):
        rate = low * (high / low) ** (step / (steps - 1))
        materials.optimizer.zero_grad(set_to_none=True)
        loss = float(batch_gradient(materials, *materials.to_device(*batch), step)[0])
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        smoothed = average / (1 - SMOOTHING ** (step + 1))
        if not math.isfinite(smoothed) or (losses and smoothed > TOO_HIGH * min(losses)):
            break
        rates.append(rate)
        losses.append(smoothed)
        set_rate(materials.optimizer, rate)
        materials.optimizer.step()
    if len(rates) < 2:
        raise TrainingError(
            f"the loss is not finite at the lowest rate, {low:g} (seed {recipe.seed}); try --low {low / 100:g}"
        )
    return Sweep(recipe.seed, tuple(rates), tuple(losses))
