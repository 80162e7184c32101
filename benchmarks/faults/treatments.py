"""Does `treat` repair planted faults of the recipe, and does it keep quiet where nothing helps?

    python benchmarks/faults/treatments.py FOLDER [MINUTES] > benchmarks/results/treatments.json

Each fault of the recipe is planted, diagnosed, and treated with what its findings propose; `treat` judges by a fifth of
the training pictures. Whether it *repaired* the fault is judged by other pictures and fresh seeds: the mean error must
lie within the 95 % prediction interval of healthy controls. A case counts if the fault hurt by the same measure.

Where nothing is wrong, or nothing can help (labels that mean nothing), everything there is is tried: each intervention
chosen there is a false claim. FOLDER holds an answer a case; those that are there are not made again. The order is
random, so that a stopped run is a sample of all kinds.
"""

from __future__ import annotations

import functools
import json
import math
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy
import torch
from kinds import ACTIVATIONS, BY_NAME, KINDS, VANISHING
from library import build, trained
from scipy import stats
from setting import HEALTHY, TRAINED_ON, Case, digits
from torch import nn

from hillock import provenance
from hillock.diagnosis.interval import share_interval
from hillock.diagnosis.interventions import INTERVENTIONS, Plan, proposed
from hillock.diagnosis.treat import Pictures, Treatment, short_run, treat_plan
from hillock.errors import UsageError
from hillock.randomness import generator

STEPS, SEEDS = 60, 5
FIRST = 100  # of the cases' seeds
FRESH = range(500, 506)  # seeds that neither the treatment nor the diagnosis has seen
CANNOT_BE_HELPED = "labels_shuffled"


def builder(case: Case) -> Callable[[int], nn.Module]:
    # Only the draw changes with the seed; which fault and which half it belongs to do not.
    return lambda seed: build(Case(case.kind, case.network, case.activation, case.seed + 1000 * seed)).model


def plan(case: Case) -> Plan:
    return Plan(builder(case), rate=build(case).rate, activation=case.activation)


def shown(*, shuffled: bool = False) -> Pictures:
    """What `treat` sees: the training pictures, a fifth of them to judge by."""
    inputs, labels, _ = digits()
    inputs, labels = inputs[:TRAINED_ON], labels[:TRAINED_ON]
    if shuffled:
        labels = labels[torch.randperm(TRAINED_ON, generator=generator(0, "shuffle"))]
    cut = TRAINED_ON - TRAINED_ON // 5
    return Pictures(inputs[:cut], labels[:cut], inputs[cut:], labels[cut:])


@functools.cache
def others() -> Pictures:
    """What a repair is judged by: pictures that were not trained on."""
    inputs, labels, _ = digits()
    return Pictures(inputs[:TRAINED_ON], labels[:TRAINED_ON], inputs[TRAINED_ON:], labels[TRAINED_ON:])


def errors(of: Plan) -> list[float]:
    return [short_run(of, others(), seed, steps=STEPS, batch_size=64) for seed in FRESH]


@functools.cache
def healthy_bound(network: str, activation: str) -> float:
    """Upper end of the 95 % prediction interval for the mean error of as many healthy trainings."""
    found = errors(plan(Case(HEALTHY, network, activation, 0)))
    quantile = float(stats.t.ppf(0.975, len(found) - 1))
    return float(numpy.mean(found)) + quantile * float(numpy.std(found, ddof=1)) * math.sqrt(2 / len(found))


def treated(case: Case) -> dict[str, Any]:
    """Diagnose and treat one case."""
    # What a sigmoid cannot do without normalisation, ReLU's control sets the bar for.
    bound = healthy_bound(case.network, "relu" if BY_NAME[case.kind].activations is VANISHING else case.activation)
    sick = plan(case)
    before = float(numpy.mean(errors(sick)))
    answer: dict[str, Any] = {"case": case.name, "healthy_bound": bound, "untreated": before, "hurt": before > bound}
    try:
        treatment = treat_plan(sick, shown(), proposed(trained(case).diagnosis.findings), seeds=SEEDS, steps=STEPS)
    except UsageError as problem:  # the findings propose nothing that can be tried
        return {**answer, "chosen": None, "repaired": False, "why": str(problem)}
    answer |= claim(treatment)
    cured = treatment.plan
    if cured is None:
        return {**answer, "repaired": False}
    after = float(numpy.mean(errors(cured)))
    return {**answer, "treated": after, "repaired": after <= bound}


def claim(treatment: Treatment) -> dict[str, Any]:
    chosen = treatment.chosen
    if chosen is None:
        return {"chosen": None}
    return {"chosen": chosen.name, "difference": chosen.difference, "interval": chosen.interval}


def in_vain(case: Case) -> dict[str, Any]:
    """Try everything on labels that mean nothing: no claim can be true."""
    control = plan(Case(HEALTHY, case.network, case.activation, case.seed))
    treatment = treat_plan(control, shown(shuffled=True), INTERVENTIONS, seeds=SEEDS, steps=STEPS)
    return {"case": case.name, **claim(treatment)}


def unneeded(case: Case) -> dict[str, Any]:
    """Try everything on a healthy training. A claim may be true: judge it by other pictures and fresh seeds."""
    control = plan(case)
    treatment = treat_plan(control, shown(), INTERVENTIONS, seeds=SEEDS, steps=STEPS)
    answer = {"case": case.name, **claim(treatment)}
    if treatment.plan is not None:
        differences = numpy.array(errors(treatment.plan)) - numpy.array(errors(control))
        answer |= {"fresh_difference": float(differences.mean()), "true": bool(differences.mean() < 0)}
    return answer


def jobs() -> Iterator[tuple[str, Case, Callable[[Case], dict[str, Any]]]]:
    names = (*ACTIVATIONS["reported"], *ACTIVATIONS["chosen"])
    for kind in (kind for kind in KINDS if kind.optimisation):
        for activation in VANISHING["reported"] if kind.activations is VANISHING else names:
            for seed in range(FIRST, FIRST + (4 if kind.activations is VANISHING else 1)):
                yield "faults", Case(kind.name, kind.networks[0], activation, seed), treated
    for activation in names:
        yield "healthy", Case(HEALTHY, "mlp6", activation, FIRST), unneeded
        yield "cannot_be_helped", Case(CANNOT_BE_HELPED, "mlp6", activation, FIRST), in_vain


def rate(answers: Sequence[bool]) -> dict[str, Any]:
    return {"hits": sum(answers), "trials": len(answers), "interval": share_interval(sum(answers), len(answers))}


def summary(answers: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    faults = [answer for answer in answers["faults"] if answer["hurt"]]
    claims = [answer for answer in faults if answer["chosen"]]
    return {
        "provenance": provenance.collect(),
        "steps": STEPS,
        "seeds": SEEDS,
        "done": sum(len(group) for group in answers.values()),
        "planned": len(list(jobs())),  # in random order: what is done is a sample
        "repaired": rate([bool(answer["repaired"]) for answer in faults]),
        "claims_that_made_it_worse": rate([answer["treated"] >= answer["untreated"] for answer in claims]),
        "claims_where_nothing_helps": rate([bool(answer["chosen"]) for answer in answers["cannot_be_helped"]]),
        "false_claims_of_healthy": rate(
            [bool(answer["chosen"]) and not answer["true"] for answer in answers["healthy"]]
        ),
        **answers,
    }


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    answers: dict[str, list[dict[str, Any]]] = {"faults": [], "healthy": [], "cannot_be_helped": []}
    ends = time.monotonic() + 60 * (float(sys.argv[2]) if len(sys.argv) > 2 else math.inf)
    todo = list(jobs())
    random.Random(0).shuffle(todo)
    for group, case, job in todo:
        path = folder / f"{group}-{case.name.replace('/', '-')}.json"
        if not path.exists():
            if time.monotonic() > ends:
                continue
            path.write_text(json.dumps(job(case)))
        answers[group].append(json.loads(path.read_text()))
        print(answers[group][-1], file=sys.stderr, flush=True)
    print(json.dumps(summary(answers), indent=1))


if __name__ == "__main__":
    main()
