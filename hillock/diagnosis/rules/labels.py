"""Label trouble: one label only, or labels that have nothing to do with the inputs."""

from __future__ import annotations

from collections.abc import Iterable

from hillock.diagnosis.evidence import Evidence
from hillock.diagnosis.finding import Finding
from hillock.diagnosis.rules.rule import Limits, Rule, percent

__all__ = ["RULE"]

TWO_SIDED = 1.96  # standard deviations of a 95 % interval


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
    if count < limits["samples"] or not seen.neighbours or _proven(evidence, limits):
        return
    allowed = limits["factor"] * seen.neighbour_chance
    low, high = (seen.neighbour_share + sign * TWO_SIDED * seen.neighbour_deviation for sign in (-1, 1))
    # With few samples of each class even labels that belong could look like this.
    if high >= allowed:
        return
    yield rule.finding(
        "warning",
        "labels",
        seen.neighbour_share,
        allowed,
        f"Of a sample's {seen.neighbours} nearest neighbours {percent(seen.neighbour_share)} have its label; labels "
        f"drawn at random would give {percent(seen.neighbour_chance)}. The labels may not belong to these inputs.",
        interval=(max(low, 0.0), high),
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
        "Of each sample's nearest other samples (up to ten, Euclidean, in the input) the share that has its label, "
        "against what labels drawn at random would give. A warning if the 95 % interval lies below {factor} times "
        "that; not judged with fewer than {samples} samples, nor if a test error below {learned} of chance disproves "
        "it. A failure if all labels are equal."
    ),
    limits={"samples": 299, "factor": 1.4, "learned": 0.8},
    unit="share of samples",
    source="Schilling 1986, Henze 1988 (tests by nearest neighbours); calibrated on benchmarks/faults",
    why="Shuffled or shifted labels can only be learned by heart: training error falls, test error never does.",
    remedies=("check the order of inputs and labels", "look at a few pictures with their labels"),
    check=check,
)
