"""Train every case of the fault library and keep what the probes saw, so that rules can be judged again in seconds.

    python benchmarks/faults/collect.py FOLDER [MINUTES] [HALF]

Writes one file a case under FOLDER; cases that are there already are not trained again. HALF is `chosen`, `looked_at`
or `reported`; without it all are trained. Photographs are among the
healthy controls if the environment variable HILLOCK_DATA names the folder of the development data.
"""

from __future__ import annotations

import pickle
import random
import sys
import time
from pathlib import Path

import torch
from library import faulty_cases, healthy_cases, trained
from setting import Case


def cases() -> list[Case]:
    """All cases, in an order that lets a stopped collection be a fair sample."""
    found = [*healthy_cases(), *faulty_cases()]
    random.Random(0).shuffle(found)
    return found


def main() -> None:
    torch.set_num_threads(1)
    folder, minutes = Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else float("inf")
    folder.mkdir(parents=True, exist_ok=True)
    ends = time.monotonic() + 60 * minutes
    todo = [case for case in cases() if len(sys.argv) < 4 or case.half == sys.argv[3]]
    for number, case in enumerate(todo, 1):
        path = folder / (case.name.replace("/", "-") + ".pickle")
        if path.exists():
            continue
        if time.monotonic() > ends:
            break
        outcome = trained(case)
        partial = path.with_suffix(".part")
        partial.write_bytes(pickle.dumps(outcome))
        partial.rename(path)
        if number % 20 == 0:
            print(f"{number} of {len(todo)}: {case.name} accuracy {outcome.accuracy:.2f}", flush=True)


if __name__ == "__main__":
    main()
