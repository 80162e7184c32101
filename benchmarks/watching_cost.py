"""What watching costs: one training, alternately watched and not, in stretches of equal length.

    python benchmarks/watching_cost.py [resnet20|resnet18] [PAIRS] > benchmarks/results/watching-NETWORK.json

The watched stretches use the defaults of `HealthObserver` as `hillock train` attaches it (a probe every 100 steps at
most, 2 % of the time at most). The ratio of paired neighbours is given with its median and quartiles; beside it the
share that the recorder measured itself.
"""

from __future__ import annotations

import json
import math
import sys
import time
from typing import Any

import numpy
import torch
from torch import nn

from hillock import provenance
from hillock.diagnosis.recorder import Recorder
from hillock.networks import network
from hillock.randomness import generator

SETTINGS: dict[str, dict[str, Any]] = {
    "resnet20": {"image_size": 32, "batch": 128, "stretch": 100},
    "resnet18": {"image_size": 96, "batch": 32, "stretch": 100},
}


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "resnet20"
    pairs = int(sys.argv[2]) if len(sys.argv) > 2 else 6
    setting = SETTINGS[name]
    model = network(name, image_size=setting["image_size"]).to(memory_format=torch.channels_last)
    draws = generator(0, "watching cost")
    side, batch = setting["image_size"], setting["batch"]
    inputs = torch.randn(4 * batch, 3, side, side, generator=draws).to(memory_format=torch.channels_last)
    targets = torch.randint(10, (4 * batch,), generator=draws)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    probes = [(inputs[:batch], targets[:batch]), (inputs[batch : 2 * batch], targets[batch : 2 * batch])]
    recorder = Recorder(model, probes, optimizer=optimizer, every=100)
    step = 0

    def stretch(watched: bool) -> float:
        nonlocal step
        began = time.perf_counter()
        for _ in range(setting["stretch"]):
            chosen = slice(step % 4 * batch, (step % 4 + 1) * batch)
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = nn.functional.cross_entropy(model(inputs[chosen]), targets[chosen])
            loss.backward()
            optimizer.step()
            step += 1
            if watched:
                recorder.after_step(step, loss)
        return time.perf_counter() - began

    stretch(False)  # warm up
    recorder.begin()
    begin_seconds = recorder.spent
    times = [(stretch(True), stretch(False)) for _ in range(pairs)]
    ratios = numpy.array([watched / plain for watched, plain in times])
    print(
        json.dumps(
            {
                "provenance": provenance.collect(),
                "network": name,
                **setting,
                "pairs": pairs,
                "seconds": times,
                "ratio": {
                    "median": float(numpy.median(ratios)),
                    "quartiles": numpy.quantile(ratios, [0.25, 0.75]).tolist(),
                    "total": math.fsum(watched for watched, _ in times) / math.fsum(plain for _, plain in times),
                },
                "first_probe_seconds": begin_seconds,
                "own_figure": recorder.share,
                "probes": len(recorder.lines),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
