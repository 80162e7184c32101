"""ResNet-110 with SiLU, batch 128: bytes kept for backward and time a step, torch eager beside lean mode.

    python benchmarks/memory_resnet110.py [--steps N] [--out FILE]

One process; the two alternate step by step on the same batches, so that both see the same machine. Writes
benchmarks/results/memory_resnet110.json: bytes, seconds per step as quantiles over the steps, the ratio of medians, and
whether all gradients of every pair of steps were identical to the bit.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import json
import time
from pathlib import Path
from typing import Any

import numpy
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hillock import kernels, provenance, randomness
from hillock.networks import network
from hillock.networks.saved_bytes import saved_bytes

RESULT = Path(__file__).parent / "results" / "memory_resnet110.json"


def torch_own(model: nn.Module) -> nn.Module:
    """Return a copy with torch's own SiLU in place of hillock's."""
    model = copy.deepcopy(model)
    for module in model.modules():
        for name, child in module.named_children():
            if getattr(getattr(child, "activation", None), "name", None) == "silu":
                setattr(module, name, nn.SiLU())
    return model


def step(model: nn.Module, batch: tuple[Tensor, Tensor], lean: bool) -> tuple[float, list[Tensor]]:
    """Return the seconds of one forward and backward pass, and its gradients."""
    model.zero_grad(set_to_none=True)
    start = time.perf_counter()
    with kernels.lean() if lean else contextlib.nullcontext():
        loss = F.cross_entropy(model(batch[0]), batch[1])
    loss.backward()
    seconds = time.perf_counter() - start
    return seconds, [p.grad for p in model.parameters() if p.grad is not None]


def quantiles(seconds: list[float]) -> dict[str, float]:
    return {f"p{q}": round(float(numpy.percentile(seconds, q)), 4) for q in (20, 50, 80)}


def measure(steps: int, batch_size: int, depth: str) -> dict[str, Any]:
    model = network(depth, activation="silu", num_classes=10, seed=0).to(memory_format=torch.channels_last)
    arms = {
        "torch eager": (torch_own(model), False),
        "hillock eager": (model, False),
        "hillock lean": (copy.deepcopy(model), True),
    }
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    identical = True
    generator = randomness.generator(0, "memory benchmark")
    for number in range(steps + 1):
        images = torch.randn(batch_size, 3, 32, 32, generator=generator).to(memory_format=torch.channels_last)
        batch = (images, torch.randint(0, 10, (batch_size,), generator=generator))
        gradients = {}
        for name, (arm, lean) in arms.items():
            taken, gradients[name] = step(arm, batch, lean)
            if number > 0:  # the first step warms up
                seconds[name].append(taken)
        pairs = zip(gradients["hillock eager"], gradients["hillock lean"], strict=True)
        identical = identical and all(torch.equal(a, b) for a, b in pairs)
    x = torch.randn(batch_size, 3, 32, 32, generator=generator).to(memory_format=torch.channels_last)
    kept = {name: sum(saved_bytes(arm, x, lean=lean).values()) for name, (arm, lean) in arms.items()}
    medians = {name: float(numpy.median(values)) for name, values in seconds.items()}
    return {
        "what": f"{depth}, SiLU, batch {batch_size}, 32x32, float32, channels-last, forward and backward",
        "steps": steps,
        "saved_bytes": kept,
        "saved_ratio_to_torch": {name: round(kept[name] / kept["torch eager"], 4) for name in arms},
        "seconds_per_step": {name: quantiles(values) for name, values in seconds.items()},
        "time_ratio_to_torch": {name: round(medians[name] / medians["torch eager"], 4) for name in arms},
        "time_ratio_lean_to_eager": round(medians["hillock lean"] / medians["hillock eager"], 4),
        "gradients_identical_lean_on_and_off": identical,
        "provenance": provenance.collect(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=5, help="timed steps per arm")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--network", default="resnet110")
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    result = measure(arguments.steps, arguments.batch_size, arguments.network)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
