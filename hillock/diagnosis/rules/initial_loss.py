"""Initial loss: an untrained classifier should lose about ln C."""

from __future__ import annotations

import math
from collections.abc import Iterable

from hillock.diagnosis.evidence import Evidence
from hillock.diagnosis.finding import Finding
from hillock.diagnosis.rules.rule import Limits, Rule

__all__ = ["RULE"]


def check(rule: Rule, evidence: Evidence, limits: Limits) -> Iterable[Finding]:
    chance = evidence.chance_loss
    if evidence.stage != "initial" or math.isnan(chance) or not math.isfinite(evidence.loss):
        return
    excess = (evidence.loss - chance) / chance
    if excess < limits["warning"]:
        return
    severity = "failure" if excess >= limits["failure"] else "warning"
    yield rule.finding(
        severity,
        "network",
        excess,
        limits[severity],
        f"Before training the loss is {evidence.loss:.4g}; knowing nothing would cost ln {evidence.classes} = "
        f"{chance:.4g}. The network is confident and wrong.",
    )


RULE = Rule(
    id="initial_loss",
    title="an untrained network that is confident",
    definition=(
        "Before training: (loss - ln C) / ln C for C classes. A warning from {warning}, a failure from {failure}."
    ),
    limits={"warning": 5.0, "failure": 20.0},
    unit="share of ln C",
    source="cs231n notes (sanity checks before learning); TheDeepChecker; limit from benchmarks/faults/initial_loss.py",
    why="The first steps are spent undoing the confidence, with gradients far larger than later ones.",
    remedies=("gain", "clipping", "a smaller draw for the last layer"),
    check=check,
)
