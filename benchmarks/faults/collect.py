"""Train every case of the fault library and keep what the probes saw, so that rules can be judged again in seconds.

    python benchmarks/faults/collect.py FOLDER [SEEDS]

Writes one file a case under FOLDER; cases that are there already are not trained again.
"""

from __future__ import annotations

import pickle
import random
import sys
from pathlib import Path

import torch
from library import Case, faulty_cases, healthy_cases, trained

from hillock.activations import Activation
from hillock.activations.catalogue import catalogue


def activations() -> tuple[str, ...]:
    """Every scalar activation of the catalogue."""
    return tuple(name for name, entry in catalogue().items() if isinstance(entry, Activation))


def cases(seeds: int) -> list[Case]:
    """All cases, in an order that lets a stopped collection be a fair sample."""
    found = [*healthy_cases(seeds, activations()), *faulty_cases(seeds)]
    random.Random(0).shuffle(found)
    return found


def main() -> None:
    torch.set_num_threads(1)
    folder, seeds = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 2
    folder.mkdir(parents=True, exist_ok=True)
    todo = cases(seeds)
    for number, case in enumerate(todo, 1):
        path = folder / (case.name.replace("/", "-") + ".pickle")
        if path.exists():
            continue
        outcome = trained(case)
        partial = path.with_suffix(".part")
        partial.write_bytes(pickle.dumps(outcome))
        partial.rename(path)
        if number % 20 == 0:
            print(f"{number} of {len(todo)}: {case.name} accuracy {outcome.accuracy:.2f}", flush=True)


if __name__ == "__main__":
    main()
