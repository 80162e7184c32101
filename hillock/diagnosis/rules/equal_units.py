"""Equal units: units drawn alike stay alike."""

from __future__ import annotations

from collections.abc import Iterable

from hillock.diagnosis.evidence import Evidence
from hillock.diagnosis.finding import Finding
from hillock.diagnosis.rules.rule import Limits, Rule

__all__ = ["RULE"]


def check(rule: Rule, evidence: Evidence, limits: Limits) -> Iterable[Finding]:
    for parameter in evidence.parameters:
        if not parameter.is_matrix or parameter.shape[0] < 2:
            continue
        share = parameter.twins / parameter.shape[0]
        if share < limits["warning"]:
            continue
        severity = "failure" if share >= limits["failure"] else "warning"
        yield rule.finding(
            severity,
            parameter.name,
            share,
            limits[severity],
            f"{parameter.twins} of the {parameter.shape[0]} units of {parameter.name} have exactly the weights and "
            f"bias of "
            "another; they compute the same.",
        )


RULE = Rule(
    id="equal_units",
    title="units with identical weights",
    definition=(
        "Units of a linear or convolution layer whose weights and bias equal another unit's bit for bit (all-zero "
        "units "
        "excepted). The value is their share: a warning from {warning}, a failure from {failure}."
    ),
    limits={"warning": 0.1, "failure": 0.5},
    unit="share of units",
    source="Goodfellow et al. 2016, section 8.4 (breaking symmetry); limits are a choice, checked on benchmarks/faults",
    why="Equal units with equal outgoing weights get equal gradients and never part: lost width.",
    remedies=("an initialisation made for this activation", "redraw the layer"),
    check=check,
)
