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
from hillock.kernels.weight_gradient import weight_gradient
from hillock.randomness import generator
from hillock.training.allocator import keep_memory

# pictures, inputs, outputs, side of the map in pixels: of ResNet-20, fast-cifar and ResNet-18 at 96 pixels
SHAPES = [
    (128, 16, 16, 32), (128, 32, 32, 16), (128, 64, 64, 8), (500, 32, 64, 31), (500, 64, 64, 15), (500, 64, 256, 15),
    (500, 256, 256, 7), (500, 256, 256, 3), (64, 64, 64, 24), (64, 128, 128, 12), (64, 256, 256, 6), (64, 512, 512, 3),
]  # fmt: skip
OUT = Path(__file__).parent / "results" / "weight_gradient.json"


def by_torch(dy: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """Return the gradient of the weight alone."""
    one = [1, 1]
    wanted = [False, True, False]
    found: Tensor = torch.ops.aten.convolution_backward(dy, x, weight, None, one, one, one, False, [0, 0], 1, wanted)[1]
    return found


def seconds(run: Callable[[], object]) -> float:
    """Return how long one call takes."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def measure(shape: tuple[int, int, int, int], threads: int, rounds: int) -> dict[str, object]:
    """Time both ways for one shape."""
    pictures, inputs, outputs, side = shape
    draws = generator(0, "weight gradient", *shape)
    torch.set_num_threads(threads)

    def picture(channels: int) -> Tensor:
        x = torch.randn(pictures, channels, side, side, generator=draws).bfloat16()
        return x.contiguous(memory_format=torch.channels_last)

    x, dy = picture(inputs), picture(outputs)
    weight = torch.randn(outputs, inputs, 3, 3, generator=draws).contiguous(memory_format=torch.channels_last)
    rounded = weight.bfloat16()
    ways = {"torch": lambda: by_torch(dy, x, rounded), "hillock": lambda: weight_gradient(x, dy, weight)}
    for run in ways.values():
        run()
    turns = [{name: seconds(run) for name, run in ways.items()} for _ in range(rounds)]
    ratios = sorted(turn["torch"] / turn["hillock"] for turn in turns)
    flop = 2 * pictures * side * side * 9 * inputs * outputs
    medians = {name: statistics.median(turn[name] for turn in turns) for name in ways}
    return {
        "pictures": pictures,
        "inputs": inputs,
        "outputs": outputs,
        "side": side,
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
        "what": "weight gradient, 3x3 convolution, stride 1, bfloat16, channels-last",
        "rounds": arguments.rounds,
        "shapes": shapes,
        "provenance": provenance.collect(),
    }
    OUT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
