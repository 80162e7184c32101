"""What a pass keeps for backward grows linearly with depth, less steeply in lean mode; deep networks pass gradients."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from hillock.networks import network
from hillock.networks.saved_bytes import saved_bytes

STORED = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "depth_memory.json"


def kept(name: str, activation: str, lean: bool) -> int:
    net = network(name, activation=activation, image_size=8)
    return sum(saved_bytes(net, torch.zeros(2, 3, 8, 8), lean=lean).values())


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize(("family", "depths"), [("resnet", (20, 32, 44, 56)), ("preresnet", (20, 32, 44))])
def test_bytes_kept_are_linear_in_depth_and_lean_mode_has_the_smaller_slope(
    family: str, depths: tuple[int, ...], activation: str
) -> None:
    slopes = {}
    for lean in (False, True):
        counts = [kept(f"{family}{depth}", activation, lean) for depth in depths]
        growth = {later - earlier for earlier, later in itertools.pairwise(counts)}
        assert len(growth) == 1, counts
        slopes[lean] = growth.pop()
    assert slopes[True] < 0.8 * slopes[False]


def test_the_stored_measurement_says_the_same_up_to_1202_layers() -> None:
    result = json.loads(STORED.read_text())
    slope = {(line["family"], line["activation"], line["mode"]): line["bytes_per_layer"] for line in result["lines"]}
    assert all(line["largest_relative_distance"] < 1e-6 for line in result["lines"])
    for family, activation in {(family, activation) for family, activation, _ in slope}:
        assert slope[family, activation, "lean"] < 0.8 * slope[family, activation, "eager"]
        documented = (STORED.parents[2] / "docs" / "networks.md").read_text()
        assert all(f"{slope[family, activation, mode] / 1024:,.0f}" in documented for mode in ("eager", "lean"))
    assert {row["network"] for row in result["rows"]} >= {"resnet1202", "preresnet1001"}
    assert {entry["network"] for entry in result["passes"]} == {"resnet1202", "preresnet1001"}
    assert all(entry["gradients_equal_to_the_bit"] for entry in result["passes"])


@pytest.mark.parametrize("name", ["resnet1202", "preresnet1001"])
def test_the_deepest_networks_run_forward_and_backward(name: str) -> None:
    net = network(name)
    x = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    nn.functional.cross_entropy(net(x), torch.arange(8)).backward()
    norms = [float(parameter.grad.norm()) for parameter in net.parameters()]
    assert all(0 < norm < float("inf") for norm in norms)  # every layer is reached
