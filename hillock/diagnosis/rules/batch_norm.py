"""Batch normalisation trouble: wrong mode, stale statistics, channels switched off, batches too small."""

from __future__ import annotations

import math
from collections.abc import Iterable

from hillock.diagnosis.evidence import Evidence
from hillock.diagnosis.finding import Finding
from hillock.diagnosis.rules.rule import Limits, Rule, percent

__all__ = ["RULE"]


def check(rule: Rule, evidence: Evidence, limits: Limits) -> Iterable[Finding]:
    for norm in evidence.norms:
        if norm.parent_training and not norm.training:
            yield rule.finding(
                "warning",
                norm.name,
                0.0,
                1.0,
                f"{norm.name} is in evaluation mode while the network trains: it uses, and does not update, its "
                f"running "
                "statistics.",
                unit="training flag",
            )
        if norm.training and norm.values_per_channel < limits["values"]:
            yield rule.finding(
                "warning",
                norm.name,
                norm.values_per_channel,
                limits["values"],
                f"{norm.name} estimates each mean and variance from {norm.values_per_channel} values only.",
                unit="values per channel",
            )
        if evidence.stage != "initial" and norm.scale_zero >= limits["zero"]:
            yield rule.finding(
                "failure" if norm.scale_zero >= limits["all_zero"] else "warning",
                norm.name,
                norm.scale_zero,
                limits["zero"],
                f"The scale γ of {norm.name} is exactly 0 in {percent(norm.scale_zero)} of its channels: they are off.",
                unit="share of channels",
            )
    yield from _stale(rule, evidence, limits)


def _stale(rule: Rule, evidence: Evidence, limits: Limits) -> Iterable[Finding]:
    """The same batch in training and in evaluation mode should cost about the same."""
    if evidence.stage == "initial" or evidence.loss_evaluating is None or not evidence.norms:
        return
    judged = [norm for norm in evidence.norms if norm.training and norm.mean_distance == norm.mean_distance]
    allowed = limits["factor"] * evidence.loss + limits["added"]
    if not judged or evidence.loss_evaluating <= allowed:
        return
    worst = max(judged, key=lambda norm: norm.mean_distance + abs(math.log(max(norm.variance_ratio, 1e-30))))
    yield rule.finding(
        "warning",
        worst.name,
        evidence.loss_evaluating,
        allowed,
        f"The same batch costs {evidence.loss:.4g} in training mode and {evidence.loss_evaluating:.4g} in evaluation "
        f"mode. "
        f"{worst.name} is furthest off: its running mean is {worst.mean_distance:.2g} standard deviations from the "
        f"batch's, "
        f"its running variance {worst.variance_ratio:.2g} times it.",
        unit="loss",
    )


RULE = Rule(
    id="batch_norm",
    title="batch normalisation in the wrong state",
    definition=(
        "A warning if a batch norm is in evaluation mode while the network trains, if it has fewer than {values} "
        "values per channel, if the same batch costs more than {factor} times the training-mode loss plus {added} in "
        "evaluation mode, or if γ is exactly 0 in {zero} of its channels after training began (a failure in "
        "{all_zero})."
    ),
    limits={"values": 16, "zero": 0.25, "all_zero": 0.9, "factor": 2.0, "added": 0.5},
    unit="values per channel, shares of channels, factor on the loss and what is added to it (nats)",
    source=(
        "Ioffe & Szegedy 2015; mode switch test after TheDeepChecker (Ben Braiek & Khomh 2023); the factor calibrated "
        "on benchmarks/faults, the other limits a choice checked there"
    ),
    why="Training and evaluation are then two different networks; what was learned in one does not hold in the other.",
    remedies=(
        "call model.train() before training",
        "a larger batch",
        "recompute the statistics",
        "group normalisation",
    ),
    check=check,
)
