"""Store what a run reached, with its interval and its birth certificate.

    python benchmarks/stored_run.py runs/cifar10-resnet20-10 benchmarks/results/train_cifar10_resnet20.json

The interval is Clopper and Pearson's for the share of right answers among the test pictures: it says what other
pictures of the same kind would give with these weights, not what other seeds would.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from hillock.comparison.statistics import clopper_pearson
from hillock.training import Run


def result_of(run: Run) -> dict[str, Any]:
    """Return accuracy, interval, majority class, recipe and provenance of a finished run."""
    pictures = run.facts["sizes"]["test"]
    right = pictures - round(run.final["test_error"] * pictures)
    counts = run.facts["class_counts"]
    majority = counts["train"].index(max(counts["train"]))
    return {
        "test_accuracy": right / pictures,
        "test_accuracy_95": clopper_pearson(right, pictures),
        "test_pictures": pictures,
        "seeds": 1,
        "always_the_majority_class": counts["test"][majority] / pictures,
        "record": run.record,
        "recipe": run.recipe.to_dict() | {"data": Path(run.recipe.data).name},  # not where it lay on this machine
        "provenance": json.loads((run.folder / "provenance.json").read_text()),
    }


def main() -> None:
    """Read the run, print and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    run = Run.open(arguments.run)
    if not run.is_finished:
        parser.error(f"{run.folder} is not finished: hillock train --resume")
    result = result_of(run)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    low, high = result["test_accuracy_95"]
    print(f"{run.folder}: test accuracy {result['test_accuracy']:.2%} (95 % {low:.2%} to {high:.2%})")


if __name__ == "__main__":
    main()
