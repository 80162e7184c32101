"""Time `hillock train --recipe fast-cifar`, one seed a call, and keep the results of all calls.

    python benchmarks/fast_cifar.py --data cifar10-jpeg --seed 1

Counted is the whole command in a fresh process: imports, data, training, six views of every test picture, files.
Before and after it a bfloat16 matrix product is timed, because the limit is scaled by its rate: half of 686 s on a
machine with 1.2e12 FLOP/s (the time that airbench94 with Muon, compiled, took there). Whoever starts anew deletes the
result file.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from hillock import provenance

OUT = Path(__file__).parent / "results" / "fast_cifar.json"
REFERENCE_SECONDS, REFERENCE_RATE = 686.0, 1.2e12  # airbench94 with Muon, and matrix FLOP/s, on the same two cores
LEAST_ACCURACY = 0.91


def matrix_rate(side: int = 2048, rounds: int = 25) -> float:
    """Return the median FLOP/s of a bfloat16 product of two square matrices."""
    a, b = (torch.ones(side, side).normal_().bfloat16() for _ in range(2))
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        a @ b
        taken.append(time.perf_counter() - started)
    return 2 * side**3 / statistics.median(taken[rounds // 5 :])


def run(data: str, seed: int, flags: list[str]) -> dict[str, Any]:
    """Train once and return what it took and gave."""
    before = matrix_rate()
    with tempfile.TemporaryDirectory() as folder:
        command = ["train", "--recipe", "fast-cifar", "--data", data, "--seed", str(seed), "--health", "0", "--quiet"]
        started = time.perf_counter()
        arguments = [*command, *flags, "--out", f"{folder}/run"]
        subprocess.run([sys.executable, "-m", "hillock", *arguments], check=True, stdout=subprocess.DEVNULL)
        taken = time.perf_counter() - started
        line = json.loads(Path(folder, "run", "record.jsonl").read_text().splitlines()[-1])
    after = matrix_rate()
    rate = (before + after) / 2
    return {
        "seed": seed,
        "flags": flags,
        "seconds": taken,
        "test_accuracy": 1 - line["test_error"],
        "epochs": line["epoch"],
        "images_per_second": line["images_per_second"],
        "matrix_flop_per_second": {"before": before, "after": after},
        "limit_seconds": REFERENCE_SECONDS / 2 * REFERENCE_RATE / rate,
    }


def main() -> None:
    """Run one seed, and store the medians of all so far."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("flags", nargs="*", help="further flags of hillock train, after --")
    arguments = parser.parse_args()
    runs = json.loads(OUT.read_text())["runs"] if OUT.exists() else []
    runs = [r for r in runs if r["seed"] != arguments.seed] + [run(arguments.data, arguments.seed, arguments.flags)]
    print(json.dumps(runs[-1]))
    result = {
        "what": "hillock train --recipe fast-cifar --health 0, whole command, two threads; accuracy with six views",
        "data": Path(arguments.data).name,
        "median_test_accuracy": statistics.median(r["test_accuracy"] for r in runs),
        "median_seconds": statistics.median(r["seconds"] for r in runs),
        "median_share_of_limit": statistics.median(r["seconds"] / r["limit_seconds"] for r in runs),
        "wanted": {"test_accuracy": LEAST_ACCURACY, "share_of_limit": 1.0},
        "runs": runs,
        "provenance": provenance.collect(),
    }
    OUT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
