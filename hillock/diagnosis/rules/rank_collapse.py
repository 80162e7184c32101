"""Rank collapse: a layer's outputs lie in fewer directions than the task has classes."""

from __future__ import annotations

import math
from collections.abc import Iterable

from hillock.diagnosis.evidence import Evidence
from hillock.diagnosis.finding import Finding
from hillock.diagnosis.rules.rule import Limits, Rule

__all__ = ["RULE"]


def check(rule: Rule, evidence: Evidence, limits: Limits) -> Iterable[Finding]:
    classes = evidence.classes or 2
    for site in evidence.unit_sites:
        possible = site.rank.possible
        if possible < limits["units"] or site.level == "operator":
            continue
        wanted = min(limits["share"] * possible, limits["classes"] * (classes - 1))
        centred = site.rank.effective(centred=True)
        if centred >= wanted or math.isnan(centred):
            continue
        severity = "failure" if centred < min(wanted, limits["failure"]) else "warning"
        uncentred = site.rank.effective(centred=False)
        yield rule.finding(
            severity,
            site.name,
            centred,
            wanted,
            f"The {possible} units of this {site.activation} vary in {centred:.1f} directions (with their means "
            f"{uncentred:.1f}); to keep {classes} classes apart takes {classes - 1}.",
        )


RULE = Rule(
    id="rank_collapse",
    title="fewer directions than classes",
    definition=(
        "Effective rank exp(H(σ/Σσ)) of a site's units over samples and positions, centred. A warning below {share} of "
        "the units or {classes} of (classes - 1), whichever is less; a failure below {failure}. Sites with fewer than "
        "{units} units are not judged."
    ),
    limits={"share": 0.1, "classes": 0.3, "failure": 1.5, "units": 8},
    unit="directions",
    source="Roy & Vetterli 2007 (effective rank); Kumar et al. 2021; limits calibrated on benchmarks/faults",
    why="What a layer does not distinguish, no later layer can.",
    remedies=("residual", "normalisation", "gain", "activation=relu"),
    check=check,
)
