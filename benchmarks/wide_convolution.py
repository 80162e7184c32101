"""Time the weight gradient of 3x3 convolutions, plain and on pictures laid side by side, and store the result.

    python benchmarks/wide_convolution.py --threads 1

The two take turns within a round; what counts is their ratio in a round. `hillock.kernels.wide_convolution` takes its
limits (largest map, fewest channels) from here.
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
from hillock.kernels.wide_convolution import _side_by_side
from hillock.randomness import generator

# channels, side of the map in pixels; batch 64
SHAPES = [(64, 8), (64, 12), (64, 16), (128, 8), (128, 12), (256, 3), (256, 6), (256, 7), (512, 3)]
BATCH, TOGETHER = 64, 16
OUT = Path(__file__).parent / "results" / "wide_convolution.json"


def weight_gradient(dy: Tensor, x: Tensor, weight: Tensor) -> Tensor:
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


def measure(channels: int, side: int, rounds: int) -> dict[str, object]:
    """Time both ways for one shape."""
    draws = generator(0, "wide convolution", channels, side)

    def picture() -> Tensor:
        x = torch.randn(BATCH, channels, side, side, generator=draws).bfloat16()
        return x.contiguous(memory_format=torch.channels_last)

    x, dy = picture(), picture()
    weight = torch.randn(channels, channels, 3, 3, generator=draws).bfloat16()
    ways = {
        "plain": lambda: weight_gradient(dy, x, weight),
        "wide": lambda: weight_gradient(_side_by_side(dy, TOGETHER), _side_by_side(x, TOGETHER), weight),
    }
    for run in ways.values():
        run()
    turns = [{name: seconds(run) for name, run in ways.items()} for _ in range(rounds)]
    ratios = sorted(turn["plain"] / turn["wide"] for turn in turns)
    return {
        "channels": channels,
        "side": side,
        "milliseconds": {name: 1e3 * statistics.median(turn[name] for turn in turns) for name in ways},
        "plain_over_wide": {"median": statistics.median(ratios), "low": ratios[0], "high": ratios[-1]},
    }


def main() -> None:
    """Measure all shapes, print and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    shapes = [measure(channels, side, arguments.rounds) for channels, side in SHAPES]
    for shape in shapes:
        print(json.dumps(shape))
    result = {
        "what": f"weight gradient, 3x3 convolution, bfloat16, channels-last, batch {BATCH}, {TOGETHER} side by side",
        "rounds": arguments.rounds,
        "shapes": shapes,
        "provenance": provenance.collect(),
    }
    OUT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
