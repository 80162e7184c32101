"""Update-to-weight ratio: how far one step moves each layer."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

from hillock.diagnosis.evidence import Evidence
from hillock.diagnosis.finding import Finding
from hillock.diagnosis.rules.plateau import label_entropy
from hillock.diagnosis.rules.rule import Limits, Rule, percent, ratio

__all__ = ["RULE"]


def check(rule: Rule, evidence: Evidence, limits: Limits) -> Iterable[Finding]:
    lines = [
        # A step from or to weights that are not numbers has no size; `non_finite` speaks of those.
        {name: float(value) for name, value in line["updates"].items() if not math.isnan(float(value))}
        for line in evidence.history
        if line.get("kind") == "health" and line.get("updates")
    ]
    lines = [line for line in lines if line]
    if not lines:
        return
    # Rates fall towards the end of most schedules: too large anywhere counts, too small only if it never was enough.
    largest = {name: max(line.get(name, 0.0) for line in lines) for name in lines[0]}
    middle = statistics.median(largest.values())
    fast = {name: value for name, value in largest.items() if value > limits["high"]}
    if middle > limits["high"]:
        worst = max(fast, key=lambda name: fast[name])
        yield rule.finding(
            "failure" if middle > limits["very_high"] else "warning",
            worst,
            middle,
            limits["high"],
            f"One step moves a weight matrix by {percent(middle)} of its norm (median over {len(largest)} matrices, "
            f"at its "
            f"largest); {worst} by {percent(fast[worst])}. About 0.1 % is usual.",
        )
    elif middle < limits["low"] and not _warming_up(lines, limits) and not _learned(evidence, limits):
        slowest = min(largest, key=lambda name: largest[name])
        yield rule.finding(
            "warning",
            slowest,
            middle,
            limits["low"],
            f"One step moves a weight matrix by no more than {ratio(middle)} of its norm (median over {len(largest)} "
            f"matrices); {slowest} by {ratio(largest[slowest])}. At this pace nothing is learned in thousands of "
            f"steps.",
        )


def _warming_up(lines: Sequence[Mapping[str, float]], limits: Limits) -> bool:
    """True while steps grow from probe to probe, and with a single probe, which cannot tell."""
    middles = [statistics.median(line.values()) for line in lines]
    return len(middles) < 2 or (middles[-1] == max(middles) and middles[-1] >= limits["growth"] * middles[0] > 0)


def _learned(evidence: Evidence, limits: Limits) -> bool:
    """True if there is little left to learn: small steps are then as it should be (a network that is fine-tuned)."""
    guessing = label_entropy(evidence)
    return guessing is not None and evidence.loss < limits["unlearned"] * guessing


RULE = Rule(
    id="update_ratio",
    title="steps too large or too small for the weights",
    definition=(
        "|Δw| / |w| of the real update (momentum and all) of each matrix, at its largest over the probes; the value is "
        "the median over matrices: a warning above {high}, a failure above {very_high}; a warning below {low} while "
        "the loss is above {unlearned} of that of guessing and the steps do not grow by {growth} (a warm-up). Needs a "
        "watched training."
    ),
    limits={"high": 0.1, "very_high": 0.5, "low": 3e-4, "unlearned": 0.5, "growth": 1.5},
    unit="share of the weights' norm per step",
    source="cs231n notes (about 1e-3); TheDeepChecker [1e-4, 1e-1]; limits calibrated on benchmarks/faults",
    why="Too large a step forgets what was learned; too small a one learns nothing in the time there is.",
    remedies=("rate/3", "rate*10", "clipping", "a longer warm-up"),
    check=check,
)
