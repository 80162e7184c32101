"""Saturated units: sigmoid-like functions driven into their flat ends."""

from __future__ import annotations

from collections.abc import Iterable

from hillock.diagnosis.evidence import Evidence
from hillock.diagnosis.finding import Finding
from hillock.diagnosis.rules.rule import Limits, Rule, percent
from hillock.diagnosis.site import SATURATION_SHARE

__all__ = ["RULE"]


def check(rule: Rule, evidence: Evidence, limits: Limits) -> Iterable[Finding]:
    for site in evidence.unit_sites:
        if not site.character.two_sided or site.elements == 0:
            continue
        low, high = site.low / site.elements, site.high / site.elements
        if site.character.rectifying:  # off, as half of a ReLU's values should be; `never_active` judges that side
            low = low * 0
        saturated = (low + high) >= limits["rate"]
        share = float(saturated.double().mean())
        if share < limits["warning"]:
            continue
        severity = "failure" if share >= limits["failure"] else "warning"
        sides = f"{percent(float(low.mean()))} of all values on the low side, {percent(float(high.mean()))} on the high"
        yield rule.finding(
            severity,
            site.name,
            share,
            limits[severity],
            f"{percent(share)} of the {site.units} units of this {site.activation} are saturated for at least "
            f"{percent(limits['rate'])} of inputs ({sides}); their slope is below 5 % of the largest.",
        )


RULE = Rule(
    id="saturated",
    title="sigmoid-like units stuck in their flat ends",
    definition=(
        "For functions that flatten at both ends: a value is saturated if "
        f"|φ'(z)| < {SATURATION_SHARE:g} max|φ'| (|z| > 2.18 for tanh, > 4.36 for sigmoid); a unit if {{rate}} of its "
        "values over samples and positions are. The value is the share of saturated units at a site: a warning from "
        "{warning}, a failure from {failure}. Where φ is exactly 0 below 0 (ReLU6) only the high side counts."
    ),
    limits={"rate": 0.9, "warning": 0.1, "failure": 0.5},
    unit="share of units",
    source="Rakitianskaia & Engelbrecht 2015 (idea); limits derived from φ' and calibrated on benchmarks/faults",
    why="The gradient through a saturated unit is at least 20 times smaller than it could be; layers before it stall.",
    remedies=("gain", "normalisation", "rate/3", "activation=relu"),
    check=check,
)
