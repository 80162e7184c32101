"""The reading of all outcomes: for every arm its scores, the difference from the reference, and one of four words."""

from __future__ import annotations

import dataclasses
import json
import math
import statistics as plain
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy

from hillock.comparison import statistics
from hillock.comparison.design import Study
from hillock.comparison.outcome import Outcome, unpack_bits
from hillock.comparison.statistics import Interval, Verdict
from hillock.comparison.tuning import Choice
from hillock.errors import CheckpointError

__all__ = ["SCHEMA", "ArmResult", "Comparison", "Curve", "Health"]

# The version of comparison.json. The first number changes when a reader of the old form would misread the new one.
SCHEMA = "hillock-comparison/1.0"


@dataclasses.dataclass(frozen=True)
class Health:
    """What the diagnosis of an arm's runs found."""

    examined: int
    """Runs that were diagnosed."""
    healthy: int
    """Of these, without a warning or failure."""
    rules: Mapping[str, int]
    """How many runs each rule fired in, notes left out."""


@dataclasses.dataclass(frozen=True)
class Curve:
    """One quantity over the epochs, one row a seed; NaN after a training that gave up."""

    epochs: tuple[float, ...]
    values: tuple[tuple[float, ...], ...]


@dataclasses.dataclass(frozen=True)
class ArmResult:
    """What the comparison says about one arm. All scores are in the metric's unit (errors: shares), lower is better."""

    name: str
    per_seed: tuple[float, ...]
    """Final scores in the order of the study's seeds; a failed training counts at chance."""
    mean: float
    differences: tuple[float, ...]
    """Arm minus reference, seed by seed. Zeros for the reference."""
    difference: float
    interval: Interval
    """For the mean difference, holding together with the other arms' intervals at the study's level. The verdict's."""
    interval_alone: Interval
    """At the study's level for this arm alone."""
    p_value: float
    """Exact sign-flip test."""
    p_adjusted: float
    """The same after Holm's correction over all arms."""
    verdict: Verdict | Literal["reference"]
    seeds_needed: int | None
    """For an undecided arm: seeds in all for a verdict with the study's power; None where over 10,000, or decided."""
    sampling_error: float | None
    """Standard error of the difference from the finite test set alone; more seeds cannot lower it."""
    failures: tuple[str, ...]
    """The sentences with which trainings gave up."""
    failure_share: Interval
    """95 % Clopper-Pearson interval of the share of trainings that give up."""
    mean_of_finished: float | None
    """Mean score without the failed trainings; None if all failed."""
    health: Health
    seconds: float | None
    """Median training time of one run, while as many ran side by side as there were workers."""
    time_ratio: float | None
    """Geometric mean over seeds of (this arm's seconds / the reference's)."""
    time_ratio_interval: Interval | None
    reached: int | None = None
    """Runs that reached the study's target; None without a target."""
    seconds_to_target: float | None = None
    """Median over seeds of the training time to the target; a run that missed counts as longest, so it may be ∞."""
    epochs_to_target: float | None = None
    """The same in epochs."""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A finished comparison: the design, every outcome, and what they say.

    >>> comparison = Comparison.load("runs/demo")  # doctest: +SKIP
    >>> [(arm.name, arm.verdict) for arm in comparison.arms]  # doctest: +SKIP
    """

    study: Study
    outcomes: tuple[Outcome, ...]
    provenance: Mapping[str, Any]
    looks: tuple[int, ...] = ()
    """How many seeds there were each time the result was looked at. More than one entry: seeds were added later."""
    folder: Path | None = None
    choices: Mapping[str, Choice] = dataclasses.field(default_factory=dict)
    """What tuning chose for each arm; empty without tuning."""
    untuned: tuple[Outcome, ...] = ()
    """With tuning: the same seeds with the recipe as it stands, to show what tuning did."""

    @property
    def untuned_arms(self) -> tuple[ArmResult, ...]:
        """With tuning: what the comparison would have said without it; else empty."""
        return _judge(self.study, self.untuned) if self.untuned else ()

    @property
    def arms(self) -> tuple[ArmResult, ...]:
        """The arms in the order of the study."""
        return self._arms

    def __post_init__(self) -> None:
        object.__setattr__(self, "_arms", _judge(self.study, self.outcomes))

    _arms: tuple[ArmResult, ...] = dataclasses.field(init=False, repr=False, compare=False, default=())

    def arm(self, name: str) -> ArmResult:
        """Return one arm's result by name."""
        self.study.arm(name)
        return next(arm for arm in self.arms if arm.name == name)

    def of(self, name: str) -> tuple[Outcome, ...]:
        """Return an arm's outcomes in the order of the study's seeds."""
        found = {outcome.seed: outcome for outcome in self.outcomes if outcome.arm == name}
        return tuple(found[seed] for seed in self.study.seeds)

    @property
    def test_pictures(self) -> int | None:
        """How many test pictures the networks were judged on, where that was kept."""
        kept = [outcome.correct for outcome in self.outcomes if outcome.correct is not None]
        return len(unpack_bits(kept[0])) if kept else None

    @property
    def smallest_p(self) -> float:
        """The smallest p-value that so many seeds can reach."""
        return statistics.smallest_p(len(self.study.seeds))

    def curves(self, quantity: str) -> dict[str, Curve]:
        """Return for every arm how a quantity of the record (`test_error`, `train_loss`, ...) went over the epochs."""
        return {arm.name: _curve(self.of(arm.name), quantity) for arm in self.study.arms}

    def rank_probabilities(self) -> dict[str, tuple[float, ...]]:
        """Return for every arm how probable each rank is, by a bootstrap over seeds (a second view, not a test)."""
        scores = numpy.array([arm.per_seed for arm in self.arms])
        table = statistics.rank_probabilities(scores)
        return {arm.name: tuple(map(float, row)) for arm, row in zip(self.arms, table, strict=True)}

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-ready values: the evidence, and under `arms` what was read from it."""
        return {
            "schema": SCHEMA,
            "study": self.study.to_dict(),
            "digest": self.study.digest,
            "looks": list(self.looks),
            "arms": [dataclasses.asdict(arm) for arm in self.arms],
            "outcomes": [outcome.to_dict() for outcome in self.outcomes],
            "choices": {name: choice.to_dict() for name, choice in self.choices.items()},
            "untuned": [outcome.to_dict() for outcome in self.untuned],
            "provenance": dict(self.provenance),
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any], folder: Path | None = None) -> Comparison:
        """Return the comparison that `to_dict` wrote; the arms are judged again from the outcomes."""
        if str(fields.get("schema")).split(".")[0] != SCHEMA.split(".")[0]:
            raise CheckpointError(
                f"a comparison in the form {SCHEMA}", got=str(fields.get("schema")), instead="comparing again"
            )
        outcomes = tuple(Outcome.from_dict(outcome) for outcome in fields["outcomes"])
        choices = {name: Choice.from_dict(choice) for name, choice in fields.get("choices", {}).items()}
        untuned = tuple(Outcome.from_dict(outcome) for outcome in fields.get("untuned", ()))
        looks = tuple(fields.get("looks", ()))
        return cls(Study(**fields["study"]), outcomes, fields["provenance"], looks, folder, choices, untuned)

    @classmethod
    def load(cls, folder: str | Path) -> Comparison:
        """Read a study's folder."""
        path = Path(folder) / "comparison.json"
        if not path.is_file():
            raise CheckpointError(
                "the folder of a finished comparison", got=str(folder), instead="hillock compare --resume"
            )
        return cls.from_dict(json.loads(path.read_text(encoding="utf-8")), Path(folder))


def _judge(study: Study, outcomes: Sequence[Outcome]) -> tuple[ArmResult, ...]:
    """Read all outcomes."""
    by_arm = {arm.name: {o.seed: o for o in outcomes if o.arm == arm.name} for arm in study.arms}
    rows = {name: [found[seed] for seed in study.seeds] for name, found in by_arm.items()}
    scores = {name: [outcome.score(study.metric) for outcome in row] for name, row in rows.items()}
    reference = scores[study.reference]
    differences = {name: [a - b for a, b in zip(own, reference, strict=True)] for name, own in scores.items()}
    others = [arm.name for arm in study.arms if arm.name != study.reference]
    p_values = {name: statistics.sign_flip_p(differences[name]) for name in others}
    adjusted = dict(zip(others, statistics.holm(list(p_values.values())), strict=True))
    results = []
    for arm in study.arms:
        own = rows[arm.name]
        word, interval, alone, needed = _read(study, differences[arm.name], is_reference=arm.name == study.reference)
        ratio, ratio_interval = _time_ratio(own, rows[study.reference], study.level)
        finished = [score for score, outcome in zip(scores[arm.name], own, strict=True) if not outcome.failed]
        failures = tuple(outcome.failure for outcome in own if outcome.failure is not None)
        results.append(
            ArmResult(
                name=arm.name,
                per_seed=tuple(scores[arm.name]),
                mean=plain.fmean(scores[arm.name]),
                differences=tuple(differences[arm.name]),
                difference=plain.fmean(differences[arm.name]),
                interval=interval,
                interval_alone=alone,
                p_value=p_values.get(arm.name, 1.0),
                p_adjusted=adjusted.get(arm.name, 1.0),
                verdict=word,
                seeds_needed=needed,
                sampling_error=_sampling_error(own, rows[study.reference]) if arm.name in others else None,
                failures=failures,
                failure_share=statistics.clopper_pearson(len(failures), len(own)),
                mean_of_finished=plain.fmean(finished) if finished else None,
                health=_health(own),
                seconds=_median([outcome.seconds for outcome in own]),
                time_ratio=ratio,
                time_ratio_interval=ratio_interval,
                **_to_target(study, own),
            )
        )
    return tuple(results)


def _read(
    study: Study, differences: Sequence[float], *, is_reference: bool
) -> tuple[Verdict | Literal["reference"], Interval, Interval, int | None]:
    """Return the verdict on one arm, its interval among all arms, its interval alone, and the seeds needed."""
    if is_reference:
        return "reference", Interval(0.0, 0.0), Interval(0.0, 0.0), None
    level = statistics.simultaneous_level(study.level, len(study.arms) - 1)
    interval = statistics.paired_t_interval(differences, level)
    word = statistics.verdict(interval, study.rope)
    needed = statistics.seeds_needed(differences, study.rope, level, study.power) if word == "undecided" else None
    if needed is not None:
        # The plan takes the mean at face value and may say "so many would have done"; at least one more is missing.
        needed = max(needed, len(differences) + 1)
    return word, interval, statistics.paired_t_interval(differences, study.level), needed


def _time_ratio(
    own: Sequence[Outcome], reference: Sequence[Outcome], level: float
) -> tuple[float | None, Interval | None]:
    """Return the geometric mean of paired time ratios and its interval, over the seeds that both finished."""
    logs = [
        math.log(a.seconds / b.seconds)
        for a, b in zip(own, reference, strict=True)
        if a.seconds and b.seconds and not a.failed and not b.failed
    ]
    if not logs:
        return None, None
    low, high = statistics.paired_t_interval(logs, level)
    return math.exp(plain.fmean(logs)), Interval(math.exp(low), math.exp(high) if high < 700 else math.inf)


def _to_target(study: Study, own: Sequence[Outcome]) -> dict[str, Any]:
    """Return how soon the target was reached; a miss is a long run, not a missing one."""
    if study.target is None:
        return {}
    quantity = study.target_quantity or study.metric
    epochs: list[float | None] = []
    seconds: list[float | None] = []
    for outcome in own:
        good = (line for line in outcome.curve if line.get(quantity) is not None and line[quantity] <= study.target)
        first: Mapping[str, Any] = next(good, {})
        epochs.append(first.get("epoch"))
        seconds.append(first.get("seconds"))
    return {
        "reached": sum(epoch is not None for epoch in epochs),
        "seconds_to_target": statistics.median_time_to_target(seconds),
        "epochs_to_target": statistics.median_time_to_target(epochs),
    }


def _sampling_error(own: Sequence[Outcome], reference: Sequence[Outcome]) -> float | None:
    pairs = [(a.correct, b.correct) for a, b in zip(own, reference, strict=True)]
    kept = [(unpack_bits(a), unpack_bits(b)) for a, b in pairs if a is not None and b is not None]
    if not kept:
        return None
    return statistics.sampling_standard_error(numpy.stack([a for a, _ in kept]), numpy.stack([b for _, b in kept]))


def _health(own: Sequence[Outcome]) -> Health:
    examined = [outcome.health for outcome in own if outcome.health is not None]
    rules: Counter[str] = Counter()
    for diagnosis in examined:
        rules.update({finding["rule"] for finding in diagnosis["findings"] if finding["severity"] != "note"})
    return Health(len(examined), sum(bool(diagnosis["healthy"]) for diagnosis in examined), dict(rules.most_common()))


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return plain.median(known) if known else None


def _curve(outcomes: Sequence[Outcome], quantity: str) -> Curve:
    rows = [{line["epoch"]: line.get(quantity) for line in outcome.curve} for outcome in outcomes]
    epochs = sorted({epoch for row in rows for epoch, value in row.items() if value is not None})

    def at(row: Mapping[float, float | None], epoch: float) -> float:
        value = row.get(epoch)
        return math.nan if value is None else float(value)

    return Curve(tuple(epochs), tuple(tuple(at(row, epoch) for epoch in epochs) for row in rows))
