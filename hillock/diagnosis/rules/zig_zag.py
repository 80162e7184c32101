"""Zig-zag: the gradients of a unit's weights share one sign, so its weights can only move together."""

from __future__ import annotations

import math
from collections.abc import Iterable

from hillock.diagnosis.evidence import Evidence
from hillock.diagnosis.finding import Finding
from hillock.diagnosis.rules.rule import Limits, Rule, percent

__all__ = ["RULE"]


def check(rule: Rule, evidence: Evidence, limits: Limits) -> Iterable[Finding]:
    found = []
    for parameter in evidence.parameters:
        if not parameter.is_matrix or parameter.fan_in < 8 or math.isnan(parameter.sign_agreement):
            continue
        # Mean and spread of |Σ sign| / n for n independent signs: a half-normal variable.
        null = math.sqrt(2 / (math.pi * parameter.fan_in))
        spread = math.sqrt((1 - 2 / math.pi) / parameter.fan_in / parameter.shape[0])
        found.append((parameter, (parameter.sign_agreement - null) / spread))
    strong = [(parameter, score) for parameter, score in found if parameter.sign_agreement >= limits["note"]]
    if not strong:
        return
    parameter, score = max(strong, key=lambda pair: pair[0].sign_agreement)
    yield rule.finding(
        "note",
        parameter.name,
        parameter.sign_agreement,
        limits["note"],
        f"Over the batch, {percent((1 + parameter.sign_agreement) / 2)} of the weights of a unit are pushed the same "
        f"way "
        f"({score:.0f} standard deviations from independent signs); {len(strong)} of {len(found)} matrices are like "
        f"this.",
    )


RULE = Rule(
    id="zig_zag",
    title="a unit's weights are all pushed the same way",
    definition=(
        "A = mean over units of |Σ_j sign g_j| / fan-in, of the batch gradient of each matrix; independent signs give "
        "√(2/(π fan-in)). A note from {note}: an effect of inputs that are all positive, not a fault by itself."
    ),
    limits={"note": 0.8},
    unit="agreement of signs",
    source="cs231n notes (inputs that are not zero-centred); LeCun et al. 1998, Efficient BackProp, section 4.3",
    why="Weights that can only rise or fall together reach their goal on a zig-zag path.",
    remedies=("centre the inputs", "normalisation", "activation=elu"),
    check=check,
)
