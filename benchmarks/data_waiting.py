"""How much of a training step is spent waiting for data: ResNet-20, batch 128, crops and flips, on CIFAR-10.

Trains a few hundred steps several times and reads `waiting_share` from the record: the time in which the loop waited
for the next batch over the time of the whole steps.

    python benchmarks/data_waiting.py path/to/cifar10 --out benchmarks/results/data_waiting.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

from hillock import provenance
from hillock.data import Augmentation
from hillock.training import Recipe, train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="CIFAR-10 as Parquet or a hub id")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--compile", choices=["on", "off"], default="off")
    parser.add_argument("--out", type=Path, default=None)
    arguments = parser.parse_args()
    recipe = Recipe(
        data=arguments.data,
        network="resnet20",
        batch_size=128,
        steps=arguments.steps,
        compile=arguments.compile,
        augmentation=Augmentation(crop_padding=4, flip="random"),
    )
    finals = []
    for repeat in range(arguments.repeats + 1):  # the first run warms up and is not counted
        with tempfile.TemporaryDirectory() as folder:
            final = train(recipe, out=Path(folder) / "run", quiet=True).final
        print(f"waiting {final['waiting_share']:.2%}, {final['images_per_second']:.0f} images/s", flush=True)
        if repeat:
            finals.append(final)
    result = {
        "what": f"share of a step spent waiting for data; ResNet-20, batch 128, compile {arguments.compile}",
        "n": arguments.repeats,
        "steps": arguments.steps,
        "waiting_share": [round(final["waiting_share"], 5) for final in finals],
        "waiting_share_median": round(statistics.median(final["waiting_share"] for final in finals), 5),
        "images_per_second": [round(final["images_per_second"], 1) for final in finals],
        "provenance": provenance.collect(),
    }
    text = json.dumps(result, indent=2)
    print(text)
    if arguments.out is not None:
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
