"""Loss plateau at ln C: after all these steps the network knows nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable

from hillock.diagnosis.evidence import Evidence
from hillock.diagnosis.finding import Finding
from hillock.diagnosis.rules.rule import Limits, Rule

__all__ = ["RULE"]


def check(rule: Rule, evidence: Evidence, limits: Limits) -> Iterable[Finding]:
    steps = max((int(line.get("step", 0)) for line in evidence.history), default=0)
    known = label_entropy(evidence)
    if steps < limits["steps"] or known is None or evidence.stage == "initial" or not math.isfinite(evidence.loss):
        return
    share = evidence.loss / known
    if share < limits["warning"]:
        return
    severity = "failure" if share >= limits["failure"] else "warning"
    yield rule.finding(
        severity,
        "network",
        share,
        limits[severity],
        f"After {steps} steps the loss is {evidence.loss:.4g}; guessing by the frequency of the labels alone costs "
        f"{known:.4g}. Next to nothing was learned.",
    )


def label_entropy(evidence: Evidence) -> float | None:
    """Return the loss of the best constant answer: the entropy of the labels seen, in nats; None without classes."""
    labels = evidence.inputs.labels if evidence.inputs is not None else {}
    if not labels or len(labels) < 2:
        return None
    count = sum(labels.values())
    return -math.fsum(seen / count * math.log(seen / count) for seen in labels.values())


RULE = Rule(
    id="plateau",
    title="no better than guessing",
    definition=(
        "After at least {steps} steps: loss on training samples / entropy of their labels. A warning from {warning}, a "
        "failure from {failure}. Needs a training that was watched or recorded."
    ),
    limits={"steps": 50, "warning": 0.9, "failure": 0.97},
    unit="share of the loss of guessing",
    source="cs231n notes (loss near ln C: not learning); limits calibrated on benchmarks/faults",
    why="Something keeps the network from learning at all; other findings usually say what.",
    remedies=("rate*10", "rate/3", "normalisation", "gain", "check that labels belong to inputs"),
    check=check,
)
