"""Is a network trained fused as good as one trained plain? Loss trajectories and final accuracies of paired runs.

    python benchmarks/fused_equivalence.py --data digits --network resnet8 --batch 32 --epochs 6 --pairs 400
    python benchmarks/fused_equivalence.py --data cifar10-jpeg --pairs 6 --epochs 2

A pair shares seed, data order and start; it differs in the fused kernels alone. Every run is kept in a folder, so that
a killed call goes on where it was. Two things are stored for each setting: over the first 200 steps, how far the losses
of a pair lie apart beside how far plain runs of different seeds do; and the mean difference of the final accuracies on
the test pictures with its 95 % paired-t interval. The schedule goes to zero and the pictures are seen in two views, to
keep the variance small; what is left of it decides how many pairs a verdict takes.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
from pathlib import Path
from typing import Any

from hillock import provenance
from hillock.comparison.statistics import paired_t_interval
from hillock.training import Recipe, Run, train
from hillock.training.allocator import keep_memory

OUT = Path(__file__).parent / "results" / "fused_equivalence.json"
STEPS = 200  # of the trajectories
REGION = 0.3  # percentage points within which the two count as equal


class Losses:
    """Notes the loss of every step."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def begin(self, context: Any) -> None: ...

    def after_step(self, context: Any) -> None:
        self.values.append(float(context.last_loss))

    def after_evaluation(self, context: Any, line: Any) -> None: ...

    def end(self, context: Any) -> None: ...


def one(recipe: Recipe, folder: Path) -> tuple[list[float], float]:
    """Return the losses of the first steps and the final test accuracy in per cent; from the folder when it is done."""
    kept = folder / "losses.json"
    if not kept.exists():
        losses = Losses()
        train(recipe, out=folder, overwrite=True, observers=[losses], quiet=True)
        kept.write_text(json.dumps(losses.values[:STEPS]))
    return json.loads(kept.read_text()), 100 * (1 - Run.open(folder).final["test_error"])


def main() -> None:
    """Train what is missing, and store the verdict over the pairs that are there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--network", default="resnet20")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--folder", type=Path, default=Path("runs/fused_equivalence"))
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=2)
    arguments = parser.parse_args()
    keep_memory()
    base = Recipe(
        data=arguments.data, network=arguments.network, batch_size=arguments.batch, epochs=arguments.epochs,
        views="mirrored", evaluate_every=arguments.epochs, compile="off", precision="bfloat16",
    )  # fmt: skip
    setting = f"{Path(arguments.data).name}, {arguments.network}, {arguments.epochs} epochs"
    ways: dict[str, list[tuple[list[float], float]]] = {"on": [], "off": []}
    for seed in range(1, arguments.pairs + 1):
        for fused, runs in ways.items():
            recipe = base.replace(seed=seed, fused=fused)
            runs.append(one(recipe, arguments.folder / f"{setting}, fused {fused}, seed {seed}"))
            print(seed, fused, f"{runs[-1][1]:.2f} %", flush=True)
    _store(setting, ways)


def _store(setting: str, ways: dict[str, list[tuple[list[float], float]]]) -> None:
    differences = [ours[1] - plain[1] for ours, plain in zip(ways["on"], ways["off"], strict=True)]
    low, high = paired_t_interval(differences)
    paired = [_distance(ours[0], plain[0]) for ours, plain in zip(ways["on"], ways["off"], strict=True)]
    seeds = [_distance(a[0], b[0]) for a, b in itertools.combinations(ways["off"], 2)]
    kept = json.loads(OUT.read_text()) if OUT.exists() else {"what": "bfloat16, mirrored views; fused minus plain"}
    kept[setting] = {
        "accuracies_percent": {name: [run[1] for run in runs] for name, runs in ways.items()},
        "difference_points": {"mean": statistics.mean(differences), "low": low, "high": high, "n": len(differences)},
        "equivalent_within_0.3": low > -REGION and high < REGION,
        "mean_loss_distance_200_steps": {
            "fused_and_plain_of_one_seed": paired,
            "plain_runs_of_two_seeds": {"median": statistics.median(seeds), "low": min(seeds), "high": max(seeds)},
        },
        "commit": provenance.collect()["commit"],
    }
    kept["provenance"] = provenance.collect()
    OUT.write_text(json.dumps(kept, indent=1) + "\n")


def _distance(ours: list[float], theirs: list[float]) -> float:
    return statistics.mean(abs(a - b) for a, b in zip(ours, theirs, strict=True))


if __name__ == "__main__":
    main()
