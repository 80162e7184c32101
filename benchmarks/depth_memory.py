"""Bytes kept for backward against depth, and a whole pass of the deepest: CIFAR ResNets up to 1,202 layers.

    python benchmarks/depth_memory.py            # some minutes on one core, 3 GiB
    python benchmarks/depth_memory.py --quick    # depths up to 110, to see that it runs

Writes benchmarks/results/depth_memory.json and docs/figures/depth_memory.svg.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from pathlib import Path
from typing import Any

import numpy
import torch
from line_plot import Line, line_plot
from torch import nn

from hillock import provenance
from hillock.kernels import lean
from hillock.networks import network
from hillock.networks.saved_bytes import saved_bytes

BATCH = 8  # pictures of 32x32
DEPTHS = {"resnet": (20, 110, 302, 602, 1202), "preresnet": (164, 506, 1001)}
ACTIVATIONS = ("relu", "gelu")
ROOT = Path(__file__).parent


def measured(name: str, activation: str) -> dict[str, Any]:
    """What a training forward pass on the batch keeps, without and with lean mode."""
    net = network(name, activation=activation)
    x = torch.zeros(BATCH, *net.input_size)
    kept = {mode: sum(saved_bytes(net, x, lean=mode == "lean").values()) for mode in ("eager", "lean")}
    layers = int(name.removeprefix("pre").removeprefix("resnet"))
    return {"network": name, "layers": layers, "activation": activation, "bytes_kept": kept}


def trained(name: str) -> dict[str, Any]:
    """One forward and backward pass of a network, eager and lean: seconds, and whether both gave the same gradients."""
    net = network(name)
    draws = torch.Generator().manual_seed(0)
    x, y = torch.randn(BATCH, *net.input_size, generator=draws), torch.arange(BATCH)
    seconds, gradients = {}, {}
    for mode in ("eager", "lean"):
        net.zero_grad()
        start = time.perf_counter()
        with lean() if mode == "lean" else contextlib.nullcontext():
            loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        seconds[mode] = time.perf_counter() - start
        gradients[mode] = [parameter.grad.clone() for parameter in net.parameters()]
    assert all(gradient.isfinite().all() for gradient in gradients["eager"])
    equal = all(torch.equal(one, other) for one, other in zip(gradients["eager"], gradients["lean"], strict=True))
    return {"network": name, "batch": BATCH, "seconds_n1": seconds, "gradients_equal_to_the_bit": equal}


def slopes(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Least-squares lines: bytes kept = slope · layers + offset, with the largest distance of a point from its line."""
    lines = []
    for family in DEPTHS:
        for activation in ACTIVATIONS:
            for mode in ("eager", "lean"):
                chosen = [r for r in rows if r["network"].startswith(family) and r["activation"] == activation]
                if len(chosen) < 2:
                    continue
                layers = numpy.array([r["layers"] for r in chosen], float)
                kept = numpy.array([r["bytes_kept"][mode] for r in chosen], float)
                slope, offset = numpy.polyfit(layers, kept, 1)
                error = numpy.abs(kept - slope * layers - offset).max() / kept.max()
                lines.append(
                    {
                        "family": family,
                        "activation": activation,
                        "mode": mode,
                        "bytes_per_layer": slope,
                        "offset_bytes": offset,
                        "largest_relative_distance": error,
                    }
                )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    rows = []
    for family, depths in DEPTHS.items():
        for depth in depths:
            for activation in ACTIVATIONS:
                if not quick or depth <= 164:
                    rows.append(measured(f"{family}{depth}", activation))
                    print(json.dumps(rows[-1]), flush=True)
    if quick:
        return
    passes = [trained("resnet1202"), trained("preresnet1001")]
    print(json.dumps(passes), flush=True)
    result = {"provenance": provenance.collect(), "batch": BATCH, "picture": [3, 32, 32], "rows": rows}
    result |= {"lines": slopes(rows), "passes": passes}
    (ROOT / "results" / "depth_memory.json").write_text(json.dumps(result, indent=1) + "\n")
    draw(result)


def draw(result: dict[str, Any]) -> None:
    lines = []
    for family in DEPTHS:
        for activation in ACTIVATIONS:
            for mode in ("eager", "lean"):
                points = [
                    (r["layers"], r["bytes_kept"][mode] / 2**20)
                    for r in result["rows"]
                    if r["network"].startswith(family) and r["activation"] == activation
                ]
                lines.append(Line(f"{family}, {activation}, {mode}", points, dashed=mode == "lean"))
    figure = line_plot(
        lines, "layers", f"MiB kept for backward, batch {BATCH}", "What a training pass keeps grows with depth"
    )
    (ROOT.parent / "docs" / "figures").mkdir(parents=True, exist_ok=True)
    (ROOT.parent / "docs" / "figures" / "depth_memory.svg").write_text(figure)


if __name__ == "__main__":
    main()
