"""Time a command from its start to the end of its first training step, caches warm and cold, and store it.

    python benchmarks/first_step.py --data cifar10-jpeg

Each command trains exactly one step of ResNet-20 with 128 pictures and evaluates on as many, so the time of the whole
command is an upper bound. Cold means an empty folder for the native kernels and for torch.compile's results; the
pictures' prepared store stays.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hillock import provenance

OUT = Path(__file__).parent / "results" / "first_step.json"
LIMITS = {"warm": 15.0, "cold": 60.0}  # seconds
WAYS = {"automatic": [], "compiled": ["--compile", "on", "--fused", "off"]}


def seconds(data: str, flags: list[str], caches: Path) -> float:
    """Return the time of one command."""
    command = [sys.executable, "-m", "hillock", "train", "--data", data, "--network", "resnet20", "--batch-size", "128"]
    command += ["--set", "steps=1", "--set", "limit=128", "--health", "0", "--quiet", "--overwrite", *flags]
    folders = {"HILLOCK_CACHE": str(caches / "kernels"), "TORCHINDUCTOR_CACHE_DIR": str(caches / "compiled")}
    started = time.perf_counter()
    subprocess.run([*command, "--out", str(caches / "run")], check=True, env={**os.environ, **folders}, timeout=600)
    return time.perf_counter() - started


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--rounds", type=int, default=3, help="of the warm commands; a cold one runs once")
    arguments = parser.parse_args()
    found = []
    for way, flags in WAYS.items():
        with tempfile.TemporaryDirectory() as folder:
            cold = seconds(arguments.data, flags, Path(folder))
            warm = [seconds(arguments.data, flags, Path(folder)) for _ in range(arguments.rounds)]
        found.append({"way": way, "flags": flags, "cold_seconds": cold, "warm_seconds": warm, "limits_seconds": LIMITS})
        print(json.dumps(found[-1]))
    result = {
        "what": "whole command: start, one training step of ResNet-20 (128 pictures), evaluation, files",
        "commands": found,
        "provenance": provenance.collect(),
    }
    OUT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
