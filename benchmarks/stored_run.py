"""Store what a run reached, with its interval and its birth certificate.

    python benchmarks/stored_run.py runs/cifar10-resnet20-10 benchmarks/results/train_cifar10_resnet20.json

With `--mirrored`, the answers averaged over each test picture and its mirror image are judged and stored beside those
to the pictures as they are (`hillock evaluate --views mirrored`).

The interval is Clopper and Pearson's for the share of right answers among the test pictures: it says what other
pictures of the same kind would give with these weights, not what other seeds would.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
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


def mirrored(folder: Path) -> dict[str, Any]:
    """Return accuracy and interval over each test picture and its mirror image."""
    command = [sys.executable, "-m", "hillock", "evaluate", str(folder), "--views", "mirrored", "--json"]
    judged = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    low, high = judged["error_interval"]
    return {"test_accuracy": 1 - judged["error"], "test_accuracy_95": [1 - high, 1 - low]}


def main() -> None:
    """Read the run, print and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--mirrored", action="store_true")
    arguments = parser.parse_args()
    run = Run.open(arguments.run)
    if not run.is_finished:
        parser.error(f"{run.folder} is not finished: hillock train --resume")
    result = result_of(run)
    if arguments.mirrored:
        result["mirrored_views"] = mirrored(run.folder)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    low, high = result["test_accuracy_95"]
    print(f"{run.folder}: test accuracy {result['test_accuracy']:.2%} (95 % {low:.2%} to {high:.2%})")
    if arguments.mirrored:
        print(f"with mirrored views {result['mirrored_views']['test_accuracy']:.2%}")


if __name__ == "__main__":
    main()
