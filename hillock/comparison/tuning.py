"""Equal tuning for every arm: the same settings tried, chosen on validation pictures, then forgotten seeds.

The learning rate that suits one activation is unfair to another. So every arm tries the same quasi-random settings with
the same seeds; the best by validation error are kept; the final trainings use seeds that took no part in the choice. If
the best setting of any arm lies at the border of what was tried, the range is widened there once, for all arms alike.
The test pictures play no role in any choice.

Sources: quasi-random search as in Bousquet et al. (2017), Critical hyper-parameters: no random, no cry; the sequence is
Roberts' (2018) additive recurrence with the generalised golden ratio.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hillock.comparison import engine
from hillock.comparison.design import Arm, Range, Study
from hillock.comparison.outcome import Outcome

__all__ = ["Choice", "Trial", "points", "tune"]

# Far from the seeds of any comparison, so that seeds added to a study later were not used for tuning it either.
FIRST_SEED = 1_000_000
_VALIDATION_SHARE = 0.2


@dataclasses.dataclass(frozen=True)
class Trial:
    """One setting tried with one arm, and its mean validation error over the tuning's seeds."""

    settings: Mapping[str, float]
    validation_error: float
    failed: int = 0


@dataclasses.dataclass(frozen=True)
class Choice:
    """What tuning chose for one arm."""

    settings: Mapping[str, float]
    trials: tuple[Trial, ...]
    at_border: bool
    """The best setting is the lowest or highest that was tried, even after widening: better ones may lie beyond."""

    def to_dict(self) -> dict[str, Any]:
        """Return the choice as JSON-ready values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Choice:
        """Return the choice that `to_dict` wrote."""
        trials = tuple(Trial(**trial) for trial in fields["trials"])
        return cls(fields["settings"], trials, fields["at_border"])


def tune(study: Study, out: Path, run: Callable[[Sequence[engine.Task]], list[Outcome]]) -> dict[str, Choice]:
    """Return for every arm the settings that did best on validation pictures. `run` makes the runs, in any order."""
    tuning = study.tuning
    assert tuning is not None
    ranges = study.tuning_space
    tried = points(ranges, tuning.trials)
    trials = _try(study, out, tried, 0, run)
    wider = _widened(ranges, [_best(found) for found in trials.values()], tried)
    if wider:
        more = points({**ranges, **wider}, max(1, tuning.trials // 2))
        for name, found in _try(study, out, more, len(tried), run).items():
            trials[name] = [*trials[name], *found]
        tried = [*tried, *more]
    return {
        name: Choice(best.settings, tuple(found), bool(_borders(best, tried)))
        for name, found in trials.items()
        if (best := _best(found)) is not None
    }


def points(ranges: Mapping[str, Range], count: int) -> list[dict[str, float]]:
    """Return settings that fill the ranges evenly, the middle first.

    >>> points({"optimizer.learning_rate": Range(low=0.01, high=1.0)}, 2)
    [{'optimizer.learning_rate': 0.1}, {'optimizer.learning_rate': 0.01722}]
    """
    names = sorted(ranges)
    golden = _generalised_golden_ratio(len(names))
    found = []
    for index in range(count):
        shares = [(0.5 + index * golden ** -(axis + 1)) % 1.0 for axis in range(len(names))]
        found.append({name: ranges[name].at(share) for name, share in zip(names, shares, strict=True)})
    return found


def _generalised_golden_ratio(dimensions: int) -> float:
    """Return the root above 1 of x^(d+1) = x + 1, by fixed-point iteration."""
    ratio = 2.0
    for _ in range(60):
        ratio = (1 + ratio) ** (1 / (dimensions + 1))
    return ratio


def _try(
    study: Study,
    out: Path,
    settings: Sequence[Mapping[str, float]],
    first: int,
    run: Callable[[Sequence[engine.Task]], list[Outcome]],
) -> dict[str, list[Trial]]:
    """Train every arm with every setting and every tuning seed."""
    assert study.tuning is not None
    seeds = range(FIRST_SEED, FIRST_SEED + study.tuning.seeds)
    tasks, owners = [], []
    for number, setting in enumerate(settings, first):
        for arm in study.arms:
            changed = Arm(name=arm.name, changes={**arm.changes, **setting})
            for seed in seeds:
                recipe = study.recipe_for(changed, seed)
                if recipe.validation_share is None:
                    recipe = recipe.replace(validation_share=_VALIDATION_SHARE)
                folder = out / "tuning" / arm.folder / f"trial-{number}" / f"seed-{seed}"
                tasks.append(engine.Task(changed, seed, recipe, folder))
                owners.append((arm.name, number - first))
    scores: dict[tuple[str, int], list[Outcome]] = {}
    for owner, outcome in zip(owners, run(tasks), strict=True):
        scores.setdefault(owner, []).append(outcome)
    return {arm.name: [_trial(settings[i], scores[arm.name, i]) for i in range(len(settings))] for arm in study.arms}


def _trial(settings: Mapping[str, float], outcomes: Sequence[Outcome]) -> Trial:
    error = statistics.fmean(outcome.score("validation_error") for outcome in outcomes)
    return Trial(settings, error, sum(outcome.failed for outcome in outcomes))


def _best(trials: Sequence[Trial]) -> Trial:
    return min(trials, key=lambda trial: trial.validation_error)


def _borders(best: Trial, tried: Sequence[Mapping[str, float]]) -> dict[str, str]:
    """Return the settings whose best value is the lowest or highest tried."""
    found = {}
    for name, value in best.settings.items():
        values = [settings[name] for settings in tried]
        if len(set(values)) > 1 and value in (min(values), max(values)):
            found[name] = "low" if value == min(values) else "high"
    return found


def _widened(
    ranges: Mapping[str, Range], bests: Sequence[Trial], tried: Sequence[Mapping[str, float]]
) -> dict[str, Range]:
    """Return the ranges beyond the borders at which some arm did best, half as wide (in logarithms) as before."""
    wider: dict[str, Range] = {}
    for best in bests:
        for name, side in _borders(best, tried).items():
            low, high = ranges[name].low, ranges[name].high
            step = math.sqrt(high / low)
            known = wider.get(name)
            beyond = Range(low=low / step, high=low) if side == "low" else Range(low=high, high=high * step)
            both = known is not None and known != beyond
            wider[name] = Range(low=low / step, high=high * step) if both else beyond
    return wider
