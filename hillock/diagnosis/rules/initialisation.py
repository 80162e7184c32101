"""Bad initialisation: the signal grows or shrinks from layer to layer before the first step."""

from __future__ import annotations

import math
from collections.abc import Iterable

from hillock.diagnosis.evidence import Evidence
from hillock.diagnosis.finding import Finding
from hillock.diagnosis.interval import slope_interval
from hillock.diagnosis.mean_field import predict
from hillock.diagnosis.rules.rule import Limits, Rule, ratio

__all__ = ["RULE"]


def check(rule: Rule, evidence: Evidence, limits: Limits) -> Iterable[Finding]:
    if evidence.stage != "initial":
        return
    sites = [site for site in evidence.sites if site.level != "operator" and 0 < site.z_rms < math.inf]
    if len(sites) < 2:
        return
    logs = [math.log10(site.z_rms) for site in sites]
    steps = len(logs) - 1
    slope, low, high = slope_interval(logs)
    total = logs[-1] - logs[0]
    gain = 10**slope
    far = abs(total) >= math.log10(limits["total"])
    steep = not 1 / limits["gain"] <= gain <= limits["gain"] and (low > 0 or high < 0) and len(logs) >= 4
    size = max(abs(logs[0]), abs(logs[-1]))
    if not (far or (steep and size > math.log10(limits["gain"]) * 2)):
        return
    expected = [value for value in predict(sites).z_rms if not math.isnan(value)]
    by_theory = (
        f" Mean-field theory expects {ratio(expected[-1])} at the last plain layer for these weights: the draw is at "
        f"fault."
        if expected and abs(math.log10(max(expected[-1], 1e-300)) - logs[-1]) < 0.5
        else ""
    )
    yield rule.finding(
        "failure" if far else "warning",
        f"{sites[0].name} ... {sites[-1].name}",
        gain,
        limits["gain"],
        f"The input of the activations goes from {ratio(10 ** logs[0])} (root mean square) at the first to "
        f"{ratio(10 ** logs[-1])} at the last, a factor of {ratio(gain)} per activation over {steps} steps.{by_theory}",
        interval=(10**low, 10**high),
    )


RULE = Rule(
    id="initialisation",
    title="weights drawn too large or too small for this activation",
    definition=(
        "Before training: the factor from one activation's input to the next (root mean square, geometric mean over "
        "depth). A warning outside [1/{gain}, {gain}] if its interval excludes 1; a failure if the whole network "
        "changes "
        "the scale by more than {total}."
    ),
    limits={"gain": 1.4, "total": 30.0},
    unit="factor per activation",
    source="Glorot & Bengio 2010; He et al. 2015; Mishkin & Matas 2016 (LSUV); limits calibrated on benchmarks/faults",
    why="Signals that grow or shrink with depth saturate units or drown in rounding, and so do their gradients.",
    remedies=("gain", "normalisation", "an initialisation made for this activation (hillock.gain)"),
    check=check,
)
