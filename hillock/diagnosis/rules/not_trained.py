"""Not trained: parameters that are frozen, missing from the optimiser, or cut off from the gradient."""

from __future__ import annotations

from collections.abc import Iterable

from hillock.diagnosis.evidence import Evidence, ParameterEvidence
from hillock.diagnosis.finding import Finding
from hillock.diagnosis.rules.rule import Limits, Rule

__all__ = ["RULE"]


def check(rule: Rule, evidence: Evidence, limits: Limits) -> Iterable[Finding]:
    matrices = [parameter for parameter in evidence.parameters if parameter.is_matrix]
    if not any(parameter.trained and parameter.gradient_norm for parameter in matrices) and not matrices:
        return
    for parameter in matrices:
        if not parameter.requires_gradient:
            yield _found(rule, parameter, "is frozen (requires_grad is False)", "warning")
        elif parameter.in_optimizer is False:
            yield _found(rule, parameter, "is not in the optimiser, or its rate is 0", "warning")
        elif parameter.gradient_norm is None:
            yield _found(
                rule, parameter, "gets no gradient: it is not used, or cut off by detach or no_grad", "failure"
            )
        elif parameter.gradient_zero:
            # Before training, a block that ends in γ = 0 or in zero weights gets no gradient in its first step.
            severity = "note" if evidence.stage == "initial" else "failure"
            yield _found(rule, parameter, "gets a gradient that is exactly 0 everywhere", severity)


def _found(rule: Rule, parameter: ParameterEvidence, what: str, severity: str) -> Finding:
    norm = parameter.gradient_norm or 0.0
    return rule.finding(severity, parameter.name, norm, 0.0, f"{parameter.name} {what}; it stays as it was drawn.")


RULE = Rule(
    id="not_trained",
    title="weights that cannot learn",
    definition=(
        "Weights of linear and convolution layers that are frozen or missing from the optimiser (a warning), to "
        "which no "
        "gradient leads, or whose gradient is exactly 0 (a failure; a note before training)."
    ),
    limits={},
    unit="norm of the gradient",
    source="by definition",
    why="The layer is a random projection; if that was not intended, part of the network is missing.",
    remedies=("hand all parameters to the optimiser", "remove the detach or no_grad before it", "unfreeze it"),
    check=check,
)
