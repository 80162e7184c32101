"""What is chosen for the hardware: a reason for every choice, and every one can be told."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from hillock.data import DataSet
from hillock.errors import UsageError
from hillock.kernels import native
from hillock.networks import network
from hillock.training import Recipe, train
from hillock.training.hardware import choose, device_of, multiply_adds

LARGE = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.Conv2d(64, 64, 3, padding=1))  # 37.7 million at 32x32


def test_every_choice_is_said_with_its_reason() -> None:
    plan = choose(Recipe(), LARGE, (3, 32, 32), 1000)
    for name, choice in plan.to_dict().items():
        if name != "device":
            assert choice["value"]
            assert choice["reason"]
            assert choice["reason"] in str(plan)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("precision", "float32"),
        ("precision", "bfloat16"),
        ("channels_last", "off"),
        ("compile", "on"),
        ("fused", "off"),
    ],
)
def test_every_choice_can_be_told(name: str, value: str) -> None:
    plan = choose(Recipe(fused="off").replace(**{name: value}), LARGE, (3, 32, 32), 1000)
    assert plan.choices()[name] == value


def test_a_small_network_stays_in_float32() -> None:
    small = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    plan = choose(Recipe(), small, (1, 8, 8), 1000)
    assert (plan.precision.value, plan.channels_last.value, plan.compile.value) == ("float32", "off", "off")


@pytest.mark.skipif(not native.available(), reason=f"needs the native library: {native.reason()}")
def test_what_normalises_maps_runs_fused_and_not_compiled() -> None:
    for name, size in (("alexnet", 67), ("resnet8", 32)):
        model = network(name, activation="relu", num_classes=10, image_size=size)
        plan = choose(Recipe(), model, (3, size, size), 10_000_000)
        assert (plan.fused.value, plan.compile.value) == ("on", "off")
        assert choose(Recipe(compile="on"), model, (3, size, size), 1000).fused.value == "on"
    assert choose(Recipe(), LARGE, (3, 32, 32), 1000).fused.value == "off"


def test_only_a_long_run_is_compiled() -> None:
    recipe = Recipe(fused="off")
    assert choose(recipe, LARGE, (3, 32, 32), 1000).compile.value == "off"
    assert choose(recipe, LARGE, (3, 32, 32), 10_000_000).compile.value == "on"


def test_multiply_adds_are_counted_by_hand() -> None:
    # 64 * 3 * 9 * 1024 + 64 * 64 * 9 * 1024
    assert multiply_adds(LARGE, (3, 32, 32)) == 64 * 9 * 1024 * 67


def test_counting_leaves_the_mode_alone() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    model[1].eval()
    multiply_adds(model, (3, 8, 8))
    assert model.training
    assert not model[1].training
    assert int(model[1].num_batches_tracked) == 0  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["gpu", "cuda:0"])
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    if name.startswith("cuda") and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(UsageError, match="--device cpu"):
        device_of(name)


def test_threads_are_set_for_the_run_and_put_back(small: Recipe, digits: DataSet, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    run = train(small.replace(threads=2, epochs=1), out=tmp_path, dataset=digits)
    assert torch.get_num_threads() == before
    plan = json.loads((run.folder / "provenance.json").read_text())["plan"]
    assert plan["threads"] == {"value": "2", "reason": "as told"}


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
def test_the_c_library_takes_the_allocator_settings() -> None:
    # In a process of its own: the settings cannot be taken back.
    check = "from hillock.training.allocator import keep_memory; assert keep_memory()"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0
