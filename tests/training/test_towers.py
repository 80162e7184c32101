"""AlexNet on two processes equals AlexNet on one, and says exactly as much as the formula says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from hillock.errors import ModelError, UsageError
from hillock.networks import network
from hillock.networks.alexnet import AlexNet
from hillock.training.towers import Tower, joined_state, numbers_exchanged

# The two networks add the same products in another order (a grouped convolution, a linear layer's halves), so sums of
# n terms differ by about sqrt(n) roundings, 5e-15 in float64 and 2e-6 in float32 for the n of some hundreds here; ten
# steps carry that on (measured: 1.3e-15 and 1.3e-6). A wrong seam between the towers shows at 5e-5.
TOLERANCE = {"torch.float64": 1e-13, "torch.float32": 2e-5}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    out = tmp_path_factory.mktemp("towers") / "found.json"
    script = Path(__file__).with_name("towers_in_two_processes.py")
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        str(script),
        str(out),
    ]
    done = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    cases: list[dict[str, Any]] = json.loads(out.read_text())
    return cases


def test_outputs_gradients_and_ten_steps_are_the_one_process_network_s(found: list[dict[str, Any]]) -> None:
    assert len(found) == 4
    for case in found:
        tolerance = TOLERANCE[case["dtype"]]
        distances = {key: case[key] for key in ("outputs", "gradients", "weights")}
        assert max(distances.values()) < tolerance, (case["name"], case["activation"], distances)
        assert all(one == pytest.approx(other, rel=tolerance) for one, other in case["losses"])
        assert case["moved"] > 100 * tolerance  # ten steps did something


def test_bytes_received_are_the_formula_s(found: list[dict[str, Any]]) -> None:
    for case in found:
        assert case["received"] == case["expected"]


def test_a_norm_across_the_seam_would_be_seen(found: list[dict[str, Any]]) -> None:
    faults = [case["fault"] / TOLERANCE[case["dtype"]] for case in found if case["name"] == "alexnet"]
    assert max(faults) > 100


def test_the_paper_s_network_exchanges_the_published_numbers() -> None:
    with torch.device("meta"):
        net = network("alexnet", num_classes=1000)
    assert isinstance(net, AlexNet)
    both_ways = {"conv3": 13 * 13 * 128, "fc6": 4_608, "fc7": 2_048}
    assert both_ways["conv3"] == 21_632
    expected = {f"{place} {way}": count for place, count in both_ways.items() for way in ("forward", "backward")}
    assert numbers_exchanged(net) == {**expected, "fc8 forward": 1_000}


def test_the_towers_halves_make_the_whole_again() -> None:
    net = network("alexnet", activation="prelu", image_size=36, width=0.05)
    state = joined_state((Tower(net, 0).state_dict(), Tower(net, 1).state_dict()))
    assert state.keys() == net.state_dict().keys()
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())


def test_what_has_no_two_towers_is_refused() -> None:
    with pytest.raises(ModelError, match="two towers"):
        Tower(network("alexnet_half", image_size=36, width=0.05), 0)
    with pytest.raises(ModelError, match="two towers"):
        Tower(network("resnet8"), 0)
    with pytest.raises(UsageError, match="torchrun"):
        Tower(network("alexnet", image_size=36, width=0.05), 2)
