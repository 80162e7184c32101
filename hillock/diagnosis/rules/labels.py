"""Label trouble: one label only, or labels that have nothing to do with the inputs."""

from __future__ import annotations

from collections.abc import Iterable

from hillock.diagnosis.evidence import Evidence
from hillock.diagnosis.finding import Finding
from hillock.diagnosis.interval import share_interval
from hillock.diagnosis.rules.rule import Limits, Rule, percent

__all__ = ["RULE"]


def check(rule: Rule, evidence: Evidence, limits: Limits) -> Iterable[Finding]:
    seen = evidence.inputs
    if seen is None or not seen.labels:
        return
    count = sum(seen.labels.values())
    if len(seen.labels) == 1 and count >= limits["samples"]:
        yield rule.finding(
            "failure", "labels", 1.0, 1.0, f"All {count} labels are the same class.", unit="classes seen"
        )
        return
    expected = seen.neighbour_trials * seen.neighbour_chance
    if seen.neighbour_trials < limits["samples"] or expected < limits["expected"] or _proven(evidence, limits):
        return
    low, high = share_interval(seen.neighbour_hits, seen.neighbour_trials)
    if high >= limits["factor"] * seen.neighbour_chance:
        return
    share = seen.neighbour_hits / seen.neighbour_trials
    yield rule.finding(
        "warning",
        "labels",
        share,
        limits["factor"] * seen.neighbour_chance,
        f"A sample's nearest neighbour has the same label in {percent(share)} of cases; labels drawn at random would "
        f"give "
        f"{percent(seen.neighbour_chance)}. The labels may not belong to these inputs.",
        interval=(low, high),
    )


def _proven(evidence: Evidence, limits: Limits) -> bool:
    """True if a test or validation error clearly below chance shows that the labels can be predicted."""
    wrong = 1 - 1 / (evidence.classes or 2)
    for line in evidence.history:
        for name in ("validation_error", "test_error"):
            error = line.get(name)
            if error is not None and float(error) < limits["learned"] * wrong:
                return True
    return False


RULE = Rule(
    id="labels",
    title="labels that do not belong to the inputs",
    definition=(
        "Share of samples whose nearest other sample (Euclidean, in the input) has the same label, against what random "
        "labels would give. A warning if the 95 % interval lies below {factor} times that; not judged with fewer than "
        "{samples} samples or {expected} expected hits, nor if a test error below {learned} of chance disproves it. A "
        "failure if all labels are equal."
    ),
    limits={"samples": 299, "expected": 15, "factor": 1.4, "learned": 0.8},
    unit="share of samples",
    source="nearest neighbours, Cover & Hart 1967; Clopper & Pearson 1934; calibrated on benchmarks/faults",
    why="Shuffled or shifted labels can only be learned by heart: training error falls, test error never does.",
    remedies=("check the order of inputs and labels", "look at a few pictures with their labels"),
    check=check,
)
