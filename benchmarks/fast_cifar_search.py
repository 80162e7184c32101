"""Try changes of the recipe `fast-cifar`, judged on a tenth of the training pictures that is held out.

    python benchmarks/fast_cifar_search.py --data cifar10-jpeg --seeds 1 2 --changes as_it_was rate_0.18

One thread a training, because only accuracy counts here, so that several calls can share a machine. The test accuracy
is noted beside the validation accuracy and decides nothing. Results are added to those that are stored.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from hillock import provenance
from hillock.training import Recipe, Run, train
from hillock.training.allocator import keep_memory

WHAT = "recipe fast-cifar, small pictures in 0.6 of the steps, one thread, a tenth of the training pictures held out"
OUT = Path(__file__).parent / "results" / "fast_cifar_search.json"
BASE = Recipe.load("fast-cifar").replace(small_share=0.6, validation_share=0.1, threads=1)
# For batches of 1,000: what is not normalised moves half as far in each of twice as many steps.
HALVED = [
    group.model_copy(update={"learning_rate_scale": group.learning_rate_scale / 2}) for group in BASE.optimizer.groups
]
CHANGES: dict[str, dict[str, Any]] = {
    "as_it_was": {},
    "padding_3": {"augmentation.crop_padding": 3},
    "rate_0.18": {"optimizer.learning_rate": 0.18},
    "rate_0.32": {"optimizer.learning_rate": 0.32},
    "smoothing_0.1": {"label_smoothing": 0.1},
    "small_24_for_0.75": {"small_side": 24, "small_share": 0.75},
    "small_16_for_0.5": {"small_side": 16, "small_share": 0.5},
    "batch_1000": {"batch_size": 1000, "optimizer.groups": [group.model_dump() for group in HALVED]},
    "norms_over_250": {"accumulate": 8},
}


def run(data: str, changes: dict[str, Any], seed: int) -> dict[str, float]:
    """Train once; return accuracies (with six views) and losses (nats) of the held-out and the test pictures."""
    with tempfile.TemporaryDirectory() as folder:
        train(BASE.replace(data=data, seed=seed, **changes), out=Path(folder, "run"), quiet=True)
        line = Run.open(Path(folder, "run")).final
    return {
        "seed": seed,
        "validation_accuracy": 1 - line["validation_error"],
        "validation_loss": line["validation_loss"],
        "test_accuracy": 1 - line["test_error"],
        "test_loss": line["test_loss"],
    }


def store(name: str, found: dict[str, float]) -> None:
    """Add a run of one change to the stored ones, in place of one with the same seed."""
    kept: dict[str, Any] = json.loads(OUT.read_text()) if OUT.exists() else {"what": WHAT, "changes": {}}
    before = kept["changes"].get(name, {"runs": []})["runs"]
    runs = sorted([*(one for one in before if one["seed"] != found["seed"]), found], key=lambda one: one["seed"])
    means = {
        f"mean_{part}_accuracy": statistics.mean(one[f"{part}_accuracy"] for one in runs)
        for part in ("validation", "test")
    }
    kept["changes"][name] = {**means, "runs": runs}
    kept["provenance"] = provenance.collect()
    OUT.write_text(json.dumps(kept, indent=1) + "\n")


def main() -> None:
    """Make the runs that are asked for, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--changes", choices=list(CHANGES), nargs="+", default=list(CHANGES))
    arguments = parser.parse_args()
    keep_memory()
    for name in arguments.changes:
        for seed in arguments.seeds:
            found = run(arguments.data, CHANGES[name], seed)
            print(name, json.dumps(found), flush=True)
            store(name, found)


if __name__ == "__main__":
    main()
