"""Input trouble: constant, repeated or unscaled inputs."""

from __future__ import annotations

import math
from collections.abc import Iterable

from hillock.diagnosis.evidence import Evidence
from hillock.diagnosis.finding import Finding
from hillock.diagnosis.rules.rule import Limits, Rule, percent, ratio

__all__ = ["RULE"]


def check(rule: Rule, evidence: Evidence, limits: Limits) -> Iterable[Finding]:
    seen = evidence.inputs
    if seen is None:
        return
    if seen.constant_share >= limits["constant"]:
        yield rule.finding(
            "failure",
            "inputs",
            seen.constant_share,
            limits["constant"],
            f"{percent(seen.constant_share)} of the inputs are one single value throughout: there is nothing to see.",
            unit="share of samples",
        )
    elif seen.distinct_share <= limits["distinct"]:
        yield rule.finding(
            "failure",
            "inputs",
            seen.distinct_share,
            limits["distinct"],
            f"Only {percent(seen.distinct_share)} of the inputs are different from one another.",
            unit="share of samples",
        )
    size = max((math.hypot(*pair) for pair in zip(seen.channel_mean, seen.channel_std, strict=True)), default=0.0)
    if size >= limits["scale"] or 0 < size <= 1 / limits["scale"]:
        yield rule.finding(
            "warning",
            "inputs",
            size,
            limits["scale"],
            f"The inputs have a root mean square of {ratio(size)} (from {ratio(seen.low)} to {ratio(seen.high)}); "
            "initial weights are made for about 1. Pixels from 0 to 255 look like this.",
        )
    elif seen.low >= 0 and not evidence.norms:
        yield rule.finding(
            "note",
            "inputs",
            seen.low,
            0.0,
            "No input is negative: the weights of a unit in the first layer can only move together.",
            unit="smallest value",
        )


RULE = Rule(
    id="inputs",
    title="inputs that are constant, repeated or not scaled",
    definition=(
        "A failure if {constant} of the samples are constant, or at most {distinct} of them are different; a warning "
        "if "
        "the root mean square of a channel is above {scale} or below its inverse; a note if no input is negative and "
        "nothing normalises it."
    ),
    limits={"constant": 0.5, "distinct": 0.5, "scale": 10.0},
    unit="root mean square",
    source="LeCun et al. 1998, Efficient BackProp, section 4.3; limits are a choice, checked on benchmarks/faults",
    why="The first layer's outputs and its gradient scale with the inputs; every default assumes they are about 1.",
    remedies=("normalise the inputs to mean 0 and deviation 1", "normalisation"),
    check=check,
)
