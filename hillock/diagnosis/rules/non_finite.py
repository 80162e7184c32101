"""NaN and infinity: who made the first one."""

from __future__ import annotations

from collections.abc import Iterable

from hillock.diagnosis.evidence import Evidence
from hillock.diagnosis.finding import Finding
from hillock.diagnosis.rules.rule import Limits, Rule

__all__ = ["RULE"]


def check(rule: Rule, evidence: Evidence, limits: Limits) -> Iterable[Finding]:
    if evidence.first_non_finite is not None:
        yield rule.finding(
            "failure",
            evidence.first_non_finite,
            1.0,
            0.0,
            f"The first number in the forward pass that is NaN or infinite comes from {evidence.first_non_finite}; "
            "everything after it only passes it on.",
        )
    elif evidence.first_non_finite_gradient is not None:
        place = evidence.first_non_finite_gradient
        yield rule.finding(
            "failure",
            place,
            1.0,
            0.0,
            f"The forward pass is finite, but the gradient is NaN or infinite from {place} on backwards.",
        )


RULE = Rule(
    id="non_finite",
    title="NaN or infinity",
    definition="The loss, an activation or a gradient of the probe is not finite. The first producer is named.",
    limits={},
    unit="first producer",
    source="IEEE 754: operations on NaN give NaN, so only the first producer is a cause",
    why="One step with such a gradient destroys every weight it reaches.",
    remedies=(
        "rate/3",
        "clipping",
        "gain",
        "look at the named place for a division, a logarithm or a large exponent",
    ),
    check=check,
)
