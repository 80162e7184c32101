"""Dying units: units that responded when training began and are dead now, and units that were born dead."""

from __future__ import annotations

from collections.abc import Iterable

from hillock.diagnosis.evidence import Evidence
from hillock.diagnosis.finding import Finding
from hillock.diagnosis.interval import share_interval
from hillock.diagnosis.rules.rule import Limits, Rule, listed

__all__ = ["RULE"]


def check(rule: Rule, evidence: Evidence, limits: Limits) -> Iterable[Finding]:
    lines = [line for line in evidence.history if line.get("kind") == "health" and line.get("sites")]
    if len(lines) < 2 or lines[0].get("stage") != "initial":
        return
    first = {site["name"]: set(site["dead"]) for site in lines[0]["sites"]}
    steps = max(int(lines[-1]["step"]), 1)
    # Judged by this examination, whose samples suffice to call a unit dead; the lines only say what it was before.
    for site in evidence.unit_sites:
        born = first.get(site.name)
        if born is None or site.samples < limits["samples"]:
            continue
        counts = site.responding * (site.samples / max(site.rows, 1))
        now = {unit for unit, count in enumerate(counts.tolist()) if count < limits["rate"] * site.samples}
        died = sorted(now - born)
        share = len(died) / site.units
        if share < limits["warning"]:
            continue
        severity = "failure" if share >= limits["failure"] else "warning"
        revived = len(born - now)
        yield rule.finding(
            severity,
            site.name,
            share,
            limits[severity],
            f"{len(died)} of {site.units} units of this {site.activation} died within {steps} steps "
            f"({1000 * share / steps:.2g} of the units per 1000 steps): {listed(died)}. {len(born & now)} were born "
            f"dead and stayed so, {revived} came to life.",
            interval=share_interval(len(died), site.units),
        )


RULE = Rule(
    id="dying",
    title="units that died during training",
    definition=(
        "A unit died if it responded at the first probe, made before the first step, and responds to less than {rate} "
        "of the samples now. The value is the share of a site's units that died: a warning from {warning}, a failure "
        "from {failure}; {samples} samples are needed. Needs a watched training."
    ),
    limits={"rate": 0.01, "samples": 299, "warning": 0.2, "failure": 0.4},
    unit="share of units",
    source="Lu et al. 2019 (dying ReLU); ReDo, Sokar et al. 2023 (transitions); calibrated on benchmarks/faults",
    why="Units that die in the first steps were knocked out by too large a step; they hardly ever come back.",
    remedies=("rate/3", "clipping", "activation=leaky_relu", "normalisation", "a longer warm-up"),
    check=check,
)
