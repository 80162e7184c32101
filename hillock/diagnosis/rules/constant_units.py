"""Constant units: alive, but the same for every input."""

from __future__ import annotations

from collections.abc import Iterable

from hillock.diagnosis.evidence import Evidence
from hillock.diagnosis.finding import Finding
from hillock.diagnosis.rules.rule import Limits, Rule, listed

__all__ = ["RULE"]


def check(rule: Rule, evidence: Evidence, limits: Limits) -> Iterable[Finding]:
    for site in evidence.unit_sites:
        if not site.elements or site.samples < 2:
            continue
        power = site.h_squares / site.elements
        # Equal to the last bits of a float32, over all samples and positions, and not simply 0.
        constant = (site.h_variance <= limits["spread"] * power) & (power > 0)
        units = constant.nonzero().flatten().tolist()
        share = len(units) / site.units
        if share < limits["warning"]:
            continue
        severity = "failure" if share >= limits["failure"] else "warning"
        yield rule.finding(
            severity,
            site.name,
            share,
            limits[severity],
            f"{len(units)} of {site.units} units of this {site.activation} give the same number for every input: "
            f"{listed(units)}.",
        )


RULE = Rule(
    id="constant_units",
    title="units that do not depend on the input",
    definition=(
        "Units whose variance over samples and positions is at most {spread} of their mean square, zeros excepted. The "
        "value is their share at a site: a warning from {warning}, a failure from {failure}."
    ),
    limits={"spread": 1e-8, "warning": 0.1, "failure": 0.5},
    unit="share of units",
    source="own definition; limits calibrated on benchmarks/faults",
    why="A constant unit is a second bias: capacity that carries no information.",
    remedies=("redraw the layer", "gain", "normalisation"),
    check=check,
)
