"""Time the weight gradient of 3x3 convolutions, torch's own and the native one, and store the result.

    python benchmarks/weight_gradient.py --threads 1,2

The two take turns within a round; what counts is their ratio in a round.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from hillock import provenance
from hillock.kernels.weight_gradient import torch_gradients, weight_gradient
from hillock.randomness import generator
from hillock.training.allocator import keep_memory

# pictures, inputs, outputs, side of the map in pixels, stride: of ResNet-20, fast-cifar and ResNet-18 at 96 pixels
SHAPES = [
    (128, 16, 16, 32, 1), (128, 16, 32, 32, 2), (128, 32, 32, 16, 1), (128, 32, 64, 16, 2), (128, 64, 64, 8, 1),
    (500, 32, 64, 31, 1), (500, 64, 64, 15, 1), (500, 64, 256, 15, 1), (500, 256, 256, 7, 1), (500, 256, 256, 3, 1),
    (64, 64, 64, 24, 1), (64, 64, 128, 24, 2), (64, 128, 128, 12, 1), (64, 128, 256, 12, 2), (64, 256, 256, 6, 1),
    (64, 256, 512, 6, 2), (64, 512, 512, 3, 1),
]  # fmt: skip
OUT = Path(__file__).parent / "results" / "weight_gradient.json"


def seconds(run: Callable[[], object]) -> float:
    """Return how long one call takes."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def measure(shape: tuple[int, int, int, int, int], threads: int, rounds: int) -> dict[str, object]:
    """Time both ways for one shape."""
    pictures, inputs, outputs, side, stride = shape
    draws = generator(0, "weight gradient", *shape)
    torch.set_num_threads(threads)

    def picture(channels: int, side: int) -> Tensor:
        x = torch.randn(pictures, channels, side, side, generator=draws).bfloat16()
        return x.contiguous(memory_format=torch.channels_last)

    x, dy = picture(inputs, side), picture(outputs, -(-side // stride))
    weight = torch.randn(outputs, inputs, 3, 3, generator=draws).contiguous(memory_format=torch.channels_last)
    rounded = weight.bfloat16()
    ways = {
        "torch": lambda: torch_gradients(dy, x, rounded, stride, False, True),
        "hillock": lambda: weight_gradient(x, dy, weight, stride),
    }
    for run in ways.values():
        run()
    turns = [{name: seconds(run) for name, run in ways.items()} for _ in range(rounds)]
    ratios = sorted(turn["torch"] / turn["hillock"] for turn in turns)
    flop = 2 * dy[:, 0].numel() * 9 * inputs * outputs
    medians = {name: statistics.median(turn[name] for turn in turns) for name in ways}
    return {
        "pictures": pictures,
        "inputs": inputs,
        "outputs": outputs,
        "side": side,
        "stride": stride,
        "threads": threads,
        "milliseconds": {name: 1e3 * value for name, value in medians.items()},
        "gigaflop_per_second": {name: flop / value / 1e9 for name, value in medians.items()},
        "torch_over_hillock": {"median": statistics.median(ratios), "low": ratios[0], "high": ratios[-1]},
    }


def main() -> None:
    """Measure all shapes, print and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    keep_memory()
    shapes = [measure(s, int(count), arguments.rounds) for count in arguments.threads.split(",") for s in SHAPES]
    for shape in shapes:
        print(json.dumps(shape))
    result = {
        "what": "weight gradient, 3x3 convolution, bfloat16, channels-last",
        "rounds": arguments.rounds,
        "shapes": shapes,
        "provenance": provenance.collect(),
    }
    OUT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
