"""Identical samples: deep in the network every input looks the same."""

from __future__ import annotations

from collections.abc import Iterable

from hillock.diagnosis.evidence import Evidence
from hillock.diagnosis.finding import Finding
from hillock.diagnosis.rules.rule import Limits, Rule

__all__ = ["RULE"]


def check(rule: Rule, evidence: Evidence, limits: Limits) -> Iterable[Finding]:
    for site in evidence.unit_sites:
        cosine = site.cosine.mean
        if cosine is None or 1 - cosine > limits["warning"]:
            continue
        severity = "failure" if 1 - cosine <= limits["failure"] else "warning"
        yield rule.finding(
            severity,
            site.name,
            1 - cosine,
            limits[severity],
            f"The outputs of this {site.activation} for two different samples have a mean cosine of {cosine:.6f}: the "
            "input has all but vanished from them.",
        )


RULE = Rule(
    id="identical_samples",
    title="every input looks the same",
    definition=(
        "Mean cosine between the outputs for different samples at each activation. The value is 1 minus it: a warning "
        "below {warning}, a failure below {failure}."
    ),
    limits={"warning": 1e-4, "failure": 1e-6},
    unit="1 - cosine",
    source="Poole et al. 2016, Schoenholz et al. 2017 (correlation maps); limits calibrated on benchmarks/faults",
    why="The loss can only fit the label frequencies; gradients of different samples cancel.",
    remedies=("gain", "normalisation", "residual", "activation=relu"),
    check=check,
)
