"""The cost model of docs/towers.md: what devices tell each other, towers against copies of the whole network.

    python benchmarks/tower_traffic.py     # seconds

Writes benchmarks/results/tower_traffic.json and docs/figures/tower_traffic.svg. Nothing is timed: it is arithmetic on
the layers' sizes, whose two-tower case tests/training/test_towers.py counts byte by byte.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from line_plot import Line, line_plot

from hillock import provenance
from hillock.networks import network
from hillock.training.towers import numbers_exchanged

ROOT = Path(__file__).parent
BYTES = 4  # of a float32
DEVICES = (2, 4, 8)
BATCHES = tuple(2**power for power in range(4, 15))  # images that all devices together take a step on


def model_parallel(numbers: dict[str, int], devices: int, batch: int) -> float:
    """Bytes that one device receives in a step when the network is split into `devices` towers.

    A device holds 1/P of the maps and needs the others' (P - 1)/P of them, where two towers need the other half; the
    logits are summed by a ring, which moves 2·(P - 1)/P of them.
    """
    activities = sum(count for place, count in numbers.items() if not place.startswith("fc8"))
    share = (devices - 1) / devices
    return BYTES * batch * (2 * share * activities + 2 * share * numbers["fc8 forward"])


def data_parallel(parameters: int, devices: int) -> float:
    """Bytes that one device receives in a step when each has the whole network: a ring all-reduce of the gradients."""
    return BYTES * 2 * (devices - 1) / devices * parameters


def main() -> None:
    with torch.device("meta"):
        net = network("alexnet", num_classes=1000)
    parameters, numbers = sum(p.numel() for p in net.parameters()), numbers_exchanged(net)
    assert model_parallel(numbers, 2, 1) == BYTES * sum(numbers.values())  # what the test counts
    crossing = {
        devices: data_parallel(parameters, devices) / model_parallel(numbers, devices, 1) for devices in DEVICES
    }
    result = {
        "provenance": provenance.collect(),
        "parameters": parameters,
        "numbers_received_per_image_two_towers": numbers,
        "bytes_per_image_two_towers": model_parallel(numbers, 2, 1),
        "bytes_per_step_data_parallel": {devices: data_parallel(parameters, devices) for devices in DEVICES},
        "images_at_which_both_move_as_much": crossing,
    }
    (ROOT / "results" / "tower_traffic.json").write_text(json.dumps(result, indent=1) + "\n")
    lines = []
    for devices in DEVICES:
        towers = [(batch, model_parallel(numbers, devices, batch) / 1e6) for batch in BATCHES]
        copies = [(batch, data_parallel(parameters, devices) / 1e6) for batch in BATCHES]
        lines += [Line(f"{devices} towers", towers), Line(f"{devices} copies", copies, dashed=True)]
    title = "AlexNet: towers talk less until the batch is large"
    figure = line_plot(lines, "images in a step", "MB received by one device in a step", title, log_x=True, log_y=True)
    (ROOT.parent / "docs" / "figures").mkdir(parents=True, exist_ok=True)
    (ROOT.parent / "docs" / "figures" / "tower_traffic.svg").write_text(figure)
    print(json.dumps({key: value for key, value in result.items() if key != "provenance"}, indent=1))


if __name__ == "__main__":
    main()
