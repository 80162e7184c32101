"""The fault library: small networks on real pictures, each with one planted fault, and healthy controls.

A *case* is a kind of fault (or `healthy`), a network, an activation and a seed. `trained(case)` builds it, trains it
for a few dozen steps under `hillock.watch` and returns what was seen. The cases fall into two halves, one to choose
limits on and one to report; the halves share neither an activation nor a seed. In the half to report every fault and
every variant draws a network of its own; in the two older halves, those of one network and activation share a draw.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

from controls import VARIANTS, variants
from kinds import ACTIVATIONS, BY_NAME, KINDS, VANISHING
from setting import BATCH, FIRST_SEED, HEALTHY, NETWORKS, Case, Setting, healthy_setting, judged, train

from hillock.activations import Activation
from hillock.activations.catalogue import catalogue
from hillock.diagnosis import Diagnosis, watch
from hillock.diagnosis.evidence import Evidence

PROBE = 384  # samples that the last probe looks at
PROBES = 3  # during training, beside the first


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a case: `evidence` before the first step and after the last, and how well it learned."""

    case: Case
    diagnosis: Diagnosis
    evidence: tuple[Evidence, Evidence]
    accuracy: float  # on pictures that were not trained on, in evaluation mode
    loss: float
    learned: float  # accuracy from which a case without a fault counts as a healthy control


def build(case: Case) -> Setting:
    """Return the training of a case, varied or with its fault planted."""
    setting = healthy_setting(case)
    if case.variant:
        variants()[case.variant].change(setting)
    if case.kind != HEALTHY:
        BY_NAME[case.kind].plant(setting)
    return setting


def trained(case: Case) -> Outcome:
    """Build, train under watch, examine."""
    setting = build(case)
    size = setting.batch if setting.batch < 16 else 128
    count = PROBE if setting.batch >= 16 else BATCH
    probes = [
        (setting.inputs[start : start + size], setting.targets[start : start + size]) for start in range(0, count, size)
    ]
    with watch(setting.model, probes, every=setting.steps // PROBES, budget=math.inf) as health:
        initial = health.recorder.evidence
        train(setting)
    final = health.recorder.evidence
    assert health.diagnosis is not None
    assert initial is not None
    assert final is not None
    accuracy, loss = judged(setting)
    return Outcome(case, health.diagnosis, (initial, final), accuracy, loss, setting.learned)


def faulty_cases() -> Iterator[Case]:
    """Every kind on its networks, activations and seeds, all halves."""
    for number, kind in enumerate(KINDS):
        for half, names in kind.activations.items():
            # The deep perceptrons have one activation a half and so four times the seeds.
            seeds = kind.seeds * (4 if kind.activations is VANISHING else 1)
            first = FIRST_SEED[half] + (100 + 20 * number if half == "reported" else 0)
            for net in kind.networks:
                for activation in names:
                    for seed in range(first, first + seeds):
                        yield Case(kind.name, net, activation, seed)


def healthy_cases() -> Iterator[Case]:
    """Every activation on every network, and the activations of the faults in every variant."""
    for half, names in halves().items():
        for activation in names:
            # Four draws where faults are planted: they say how much accuracy varies by itself.
            for seed in range(FIRST_SEED[half], FIRST_SEED[half] + (4 if activation in ACTIVATIONS[half] else 2)):
                for net in NETWORKS:
                    yield Case(HEALTHY, net, activation, seed)
        for number, variant in enumerate(VARIANTS):
            first = FIRST_SEED[half] + (20 + number if half == "reported" else 0)
            for net in variant.networks if variant.name in variants() else ():
                for activation in ACTIVATIONS[half]:
                    yield Case(HEALTHY, net, activation, first, variant.name)


def halves() -> dict[str, list[str]]:
    """Every scalar activation of the catalogue, to choose on or to report on."""
    found = {
        "chosen": [*ACTIVATIONS["chosen"], "hard_sigmoid", "gaussian"],
        "reported": [*ACTIVATIONS["reported"], "sigmoid", "softplus"],
    }
    taken = {name for names in found.values() for name in names}
    others = [name for name, entry in catalogue().items() if isinstance(entry, Activation) and name not in taken]
    found["chosen"] += others[::2]
    found["reported"] += others[1::2]
    return {"chosen": found["chosen"], "looked_at": found["reported"], "reported": found["reported"]}
