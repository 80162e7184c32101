"""Vanishing and exploding gradients: how the gradient's size changes from the last activation to the first."""

from __future__ import annotations

import math
from collections.abc import Iterable

from hillock.diagnosis.evidence import Evidence
from hillock.diagnosis.finding import Finding
from hillock.diagnosis.interval import slope_interval
from hillock.diagnosis.rules.rule import Limits, Rule, ratio

__all__ = ["EXPLODING", "VANISHING", "depth_change"]


def depth_change(evidence: Evidence) -> tuple[list[str], list[float], float, tuple[float, float]] | None:
    """Return sites, log10 gradient norms, and the factor from last to first site with its 95 % interval (log10).

    The factor is that of the straight line through the logarithms. None with fewer than four sites whose gradient is
    not exactly 0.
    """
    found = [(site.name, site.gradient_norm) for site in evidence.sites]
    # A norm of exactly 0 is a branch that is switched off (γ = 0 at its end) or a blocked gradient, not a small one.
    carried = [(name, norm) for name, norm in found if norm is not None and norm > 0]
    if len(carried) < 4:
        return None
    logs = [math.log10(norm) for _, norm in carried]
    slope, low, high = slope_interval(logs)
    steps = len(logs) - 1
    # From the last site to the first: a positive slope over depth is a gradient that shrinks on its way back.
    return [name for name, _ in carried], logs, -slope * steps, (-high * steps, -low * steps)


def check_vanishing(rule: Rule, evidence: Evidence, limits: Limits) -> Iterable[Finding]:
    measured = depth_change(evidence)
    if measured is None:
        return
    names, logs, change, interval = measured
    if change > -math.log10(limits["warning"]) or interval[1] >= 0:
        return
    severity = "failure" if change <= -math.log10(limits["failure"]) else "warning"
    yield rule.finding(
        severity,
        f"{names[0]} ... {names[-1]}",
        10**-change,
        limits[severity],
        f"On its way back through {len(names)} activations the gradient shrinks by a factor of {ratio(10**-change)} "
        f"({ratio(10 ** (change / (len(names) - 1)))} per activation): {ratio(10 ** logs[-1])} at the last, "
        f"{ratio(10 ** logs[0])} at the first.",
        interval=(10 ** -interval[1], 10 ** -interval[0]),
    )


def check_exploding(rule: Rule, evidence: Evidence, limits: Limits) -> Iterable[Finding]:
    measured = depth_change(evidence)
    if measured is None:
        return
    names, logs, change, interval = measured
    if change < math.log10(limits["warning"]) or interval[0] <= 0:
        return
    severity = "failure" if change >= math.log10(limits["failure"]) else "warning"
    yield rule.finding(
        severity,
        f"{names[0]} ... {names[-1]}",
        10**change,
        limits[severity],
        f"On its way back through {len(names)} activations the gradient grows by a factor of {ratio(10**change)}: "
        f"{ratio(10 ** logs[-1])} at the last, {ratio(10 ** logs[0])} at the first.",
        interval=(10 ** interval[0], 10 ** interval[1]),
    )


VANISHING = Rule(
    id="vanishing",
    title="the gradient shrinks on its way back to the first layers",
    definition=(
        "G_l is the root mean square over samples of the norm of d(loss of the sample)/dh_l at activation site l. A "
        "straight line is fitted to log10 G_l over depth; the value is the factor by which it falls from the last site "
        "to the first, with the interval of the line's slope: a warning from {warning}, a failure from {failure}, if "
        "the interval excludes 1."
    ),
    limits={"warning": 100.0, "failure": 1000.0},
    unit="factor from last to first activation",
    source=(
        "Hochreiter 1991; Bengio, Simard & Frasconi 1994; scale-free form after the ratio 1e-3 of AutoTrainer (Zhang "
        "et al. 2021); limits calibrated on benchmarks/faults"
    ),
    why="The first layers hardly move, so the network learns on random features or not at all.",
    remedies=("normalisation", "residual", "activation=relu", "gain", "an initialisation made for this activation"),
    check=check_vanishing,
)
EXPLODING = Rule(
    id="exploding",
    title="the gradient grows on its way back to the first layers",
    definition=(
        "As for `vanishing`, in the other direction: the value is the factor by which the fitted line rises from the "
        "last site to the first: a warning from {warning}, a failure from {failure}, if the interval excludes 1."
    ),
    limits={"warning": 100.0, "failure": 1000.0},
    unit="factor from last to first activation",
    source="Pascanu, Mikolov & Bengio 2013; limits calibrated on benchmarks/faults",
    why="One step throws the first layers far away; training diverges or needs a rate at which the last layers stall.",
    remedies=("gain", "normalisation", "clipping", "rate/3", "an initialisation made for this activation"),
    check=check_exploding,
)
