"""Never active: units of a ReLU-like function that are 0 for every probe sample."""

from __future__ import annotations

from collections.abc import Iterable

from hillock.diagnosis.evidence import Evidence
from hillock.diagnosis.finding import Finding
from hillock.diagnosis.rules.gradient_dead import judged
from hillock.diagnosis.rules.rule import Limits, Rule

__all__ = ["RULE"]


def check(rule: Rule, evidence: Evidence, limits: Limits) -> Iterable[Finding]:
    for site in evidence.unit_sites:
        if site.character.rectifying:
            yield from judged(rule, site, site.active.tolist(), limits, "is active on")


RULE = Rule(
    id="never_active",
    title="units that are 0 for every input",
    definition=(
        "For functions that are exactly 0 for negative inputs: a unit counts if its output is above 0, at any "
        "position, in less than {rate} of the samples. The value is the share of such units at a site: a warning "
        "from {warning}, a failure from {failure}."
    ),
    limits={"rate": 0.01, "warning": 0.25, "failure": 0.5},
    unit="share of units",
    source=(
        "cs231n notes ('never activate across the entire training dataset'); keras-contrib DeadReluDetector; "
        "intervals Clopper & Pearson 1934; shares calibrated on benchmarks/faults"
    ),
    why="The unit is lost capacity: its outgoing weights do nothing, its incoming weights get no gradient.",
    remedies=("rate/3", "bias+0.1", "activation=leaky_relu", "normalisation", "lower the learning rate and warm it up"),
    check=check,
)
