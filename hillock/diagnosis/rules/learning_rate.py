"""Learning rate: a loss that rises, or that would go on falling."""

from __future__ import annotations

import math
from collections.abc import Iterable

from hillock.diagnosis.evidence import Evidence
from hillock.diagnosis.finding import Finding
from hillock.diagnosis.rules.rule import Limits, Rule

__all__ = ["RULE"]


def check(rule: Rule, evidence: Evidence, limits: Limits) -> Iterable[Finding]:
    summaries = [line["training_loss"] for line in evidence.history if line.get("training_loss")]
    probes = [float(line["loss"]) for line in evidence.history if line.get("kind") == "health"]
    known = evidence.chance_loss
    if math.isnan(known) or not (summaries or len(probes) > 1):
        return
    highest = max([float(summary["highest"]) for summary in summaries] + probes[1:], default=math.nan)
    start = probes[0] if probes else float(summaries[0]["first"])
    if highest > limits["spike"] * max(start, known):
        worse = evidence.loss > limits["worse"] * known or not math.isfinite(evidence.loss)
        yield rule.finding(
            "failure" if worse else "note",
            "network",
            highest / max(start, known),
            limits["spike"],
            f"The loss rose from {start:.4g} to {highest:.4g} and stands at {evidence.loss:.4g} "
            f"(guessing costs {known:.4g}): the steps are too large.",
        )


RULE = Rule(
    id="learning_rate",
    title="a loss that rises: the learning rate is too high",
    definition=(
        "Highest loss during training / loss at its start (or ln C, if larger). From {spike} on a note; a failure if "
        "the "
        "loss is still above {worse} ln C at the end. Needs a watched training. The other direction, too low a rate, "
        "is "
        "judged by `update_ratio`."
    ),
    limits={"spike": 1.5, "worse": 0.9},
    unit="factor on the initial loss",
    source=(
        "Godbole et al. 2023, Deep Learning Tuning Playbook (instability); limits are a choice, checked on "
        "benchmarks/faults"
    ),
    why="Steps that overshoot undo one another; units die and weights grow.",
    remedies=("rate/3", "clipping", "a longer warm-up", "normalisation"),
    check=check,
)
