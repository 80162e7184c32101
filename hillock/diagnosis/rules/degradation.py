"""Degradation: the deeper network has the higher training error than a shallower one trained alike."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy

from hillock.diagnosis.evidence import DepthPair, Evidence
from hillock.diagnosis.finding import Finding
from hillock.diagnosis.interval import mean_interval, share_interval
from hillock.diagnosis.rules.rule import Limits, Rule

__all__ = ["RULE", "excess_error"]


def check(rule: Rule, evidence: Evidence, limits: Limits) -> Iterable[Finding]:
    pairs = evidence.depth_pairs
    if not pairs or min(pair.samples for pair in pairs) < limits["samples"]:
        return
    excess, (low, high) = excess_error(pairs)
    if low <= 0 or excess < limits["warning"]:
        return
    severity = "failure" if excess >= limits["failure"] else "warning"
    first = pairs[0]
    certainty = (
        f"95 % interval {low:+.1%} to {high:+.1%} over {len(pairs)} pairs of trainings."
        if len(pairs) > 1
        else f"95 % interval {low:+.1%} to {high:+.1%} over these samples; one pair of trainings does not say how "
        f"other draws would do."
    )
    yield rule.finding(
        severity,
        "network",
        excess,
        limits[severity],
        f"With {first.layers} layers of weights the training error is {excess:+.1%} above that of {first.shallower}, "
        f"which has {first.shallower_layers}: {certainty} The deeper network could copy the shallower one; training "
        f"does not find how.",
        interval=(low, high),
    )


def excess_error(pairs: Sequence[DepthPair]) -> tuple[float, tuple[float, float]]:
    """Return the mean difference in training error, deeper minus shallower, and its 95 % interval.

    Several pairs: paired t over trainings. One pair: exact, from the samples on which only one of the two is wrong.

    **Source** McNemar 1947 (correlated proportions), with the Clopper-Pearson interval for the discordant samples.
    """
    if len(pairs) > 1:
        differences = [(pair.only_deeper_wrong - pair.only_shallower_wrong) / pair.samples for pair in pairs]
        middle, half = mean_interval(differences)
        return middle, (middle - half, middle + half)
    (pair,) = pairs
    discordant = pair.only_deeper_wrong + pair.only_shallower_wrong
    if discordant == 0:
        return 0.0, (0.0, 0.0)
    ends = share_interval(pair.only_deeper_wrong, discordant)
    low, high = (float(end) for end in (2 * numpy.array(ends) - 1) * discordant / pair.samples)
    assert not math.isnan(low)
    return (pair.only_deeper_wrong - pair.only_shallower_wrong) / pair.samples, (low, high)


RULE = Rule(
    id="degradation",
    title="the deeper network has the higher training error",
    definition=(
        "Training error of this network - that of a shallower one of the same kind, trained alike, on the same "
        "training samples. A warning from {warning} if its 95 % interval lies above 0 (over pairs of trainings: paired "
        "t; of one pair: exact over the samples), a failure from {failure}; {samples} samples are needed. Needs the "
        "other run: `hillock diagnose RUN --against SHALLOWER_RUN`."
    ),
    limits={"warning": 0.02, "failure": 0.1, "samples": 299},
    unit="difference in training error",
    source="He et al. 2016 (degradation); McNemar 1947; limits are a choice",
    why="Depth that costs training error is a fault of optimisation, not of overfitting: more layers do harm.",
    remedies=("residual", "normalisation", "a shallower network"),
    check=check,
)
