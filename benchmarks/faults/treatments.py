"""Does `treat` repair planted optimisation faults?

    python benchmarks/faults/treatments.py [ACTIVATIONS] > benchmarks/results/treatments.json

Each optimisation fault is planted in a perceptron (the normalisation fault in a plain network), diagnosed, and treated
with what its findings propose. It counts as *repaired* if the chosen intervention's mean error lies within the healthy
control's 95 % prediction interval, and as *claimed* if an intervention is chosen at all. A claim for a training without
a fault would be a false claim; healthy controls are treated with everything there is to look for one.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from typing import Any

import numpy
import torch
from library import HEALTHY, KINDS, NETWORKS, Case, build, digits, trained
from scipy import stats
from torch import nn

from hillock import provenance
from hillock.diagnosis.interval import share_interval
from hillock.diagnosis.interventions import INTERVENTIONS, Plan, proposed
from hillock.diagnosis.treat import Pictures, short_run, treat_plan
from hillock.errors import UsageError

STEPS, SEEDS = 60, 4
TREATED = tuple(kind for kind in KINDS if kind.optimisation)


def builder(case: Case) -> Callable[[int], nn.Module]:
    return lambda seed: build(Case(case.kind, case.network, case.activation, seed)).model


def plan(case: Case) -> Plan:
    return Plan(builder(case), rate=build(case).rate, activation=case.activation)


def shown() -> Pictures:
    inputs, labels, _ = digits()
    return Pictures(inputs[:1200], labels[:1200], inputs[1200:], labels[1200:])


def healthy_bound(network: str, activation: str) -> float:
    """Upper end of the 95 % prediction interval for the error of one healthy training."""
    control = plan(Case(HEALTHY, network, activation, 0))
    errors = [short_run(control, shown(), seed, steps=STEPS, batch_size=64) for seed in range(100, 106)]
    half = (
        float(stats.t.ppf(0.975, len(errors) - 1)) * float(numpy.std(errors, ddof=1)) * math.sqrt(1 + 1 / len(errors))
    )
    return float(numpy.mean(errors)) + half


def treated(case: Case, bound: float) -> dict[str, Any]:
    """Diagnose and treat one case."""
    findings = trained(case).diagnosis.findings
    try:
        treatment = treat_plan(plan(case), shown(), proposed(findings), seeds=SEEDS, steps=STEPS)
    except UsageError as problem:  # the findings propose nothing that can be tried
        return {"case": case.name, "chosen": None, "repaired": False, "why": str(problem)}
    answer = {"case": case.name, "untreated": float(numpy.mean(treatment.untreated)), "healthy_bound": bound}
    if treatment.chosen is None:
        return {**answer, "chosen": None, "repaired": False}
    error = float(numpy.mean(treatment.chosen.errors))
    effect = {"difference": treatment.chosen.difference, "interval": treatment.chosen.interval}
    return {**answer, "chosen": treatment.chosen.name, "error": error, **effect, "repaired": error <= bound}


def main() -> None:
    torch.set_num_threads(1)
    activations = sys.argv[1].split(",") if len(sys.argv) > 1 else ["relu", "tanh"]
    cases = []
    for kind in TREATED:
        for activation in dict.fromkeys(kind.activations[:1] if kind.name == "deep_sigmoid" else activations):
            cases.append(Case(kind.name, kind.networks[0], activation, 0))
    bounds: dict[tuple[str, str], float] = {}
    answers = []
    for case in cases:
        # What a bounded function cannot do without normalisation, ReLU's control sets the bar for.
        control = (case.network, "relu" if case.kind == "deep_sigmoid" else case.activation)
        if control not in bounds:
            bounds[control] = healthy_bound(*control)
        answers.append(treated(case, bounds[control]))
        print(answers[-1], file=sys.stderr, flush=True)
    false = [healthy(network, activation) for network in list(NETWORKS)[:1] for activation in activations]
    repaired = sum(bool(answer["repaired"]) for answer in answers)
    low, high = share_interval(repaired, len(answers))
    print(
        json.dumps(
            {
                "provenance": provenance.collect(),
                "steps": STEPS,
                "seeds": SEEDS,
                "repaired": {"hits": repaired, "trials": len(answers), "interval": [low, high]},
                "cases": answers,
                "healthy_controls": false,
            },
            indent=1,
        )
    )


def healthy(network: str, activation: str) -> dict[str, Any]:
    """Treat a training without a fault with everything."""
    case = Case(HEALTHY, network, activation, 0)
    treatment = treat_plan(plan(case), shown(), INTERVENTIONS, seeds=SEEDS, steps=STEPS)
    chosen = treatment.chosen
    return {
        "case": case.name,
        "chosen": chosen.name if chosen else None,
        "interval": chosen.interval if chosen else None,
    }


if __name__ == "__main__":
    main()
