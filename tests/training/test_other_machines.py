"""The same program on lesser machines, without a compiler, AMX or AVX512: results agree within rounding."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

PROGRAM = """
import json, sys, torch
from hillock.kernels import native
from hillock.kernels.weight_gradient import gains
from hillock.training import Recipe, train

losses = {}
for precision in ("float32", "bfloat16"):
    recipe = Recipe(data="shapes", network="resnet8", activation="gelu", limit=256, epochs=1, batch_size=32,
                    precision=precision, channels_last="on", threads=1)
    final = train(recipe, out=f"{sys.argv[1]}/{precision}", quiet=True).final
    losses[precision] = [final["train_loss"], final["test_loss"]]
x, weight = torch.zeros(1, 16, 4, 4).bfloat16().to(memory_format=torch.channels_last), torch.zeros(16, 16, 3, 3)
print(json.dumps({"losses": losses, "native": native.available(), "tiles": gains(x, weight)}))
"""
# Eight steps from a loss of about ln 3. Sums in another order change the seventh digit of a float32 step; bfloat16
# keeps 8 bits, and which of its roundings differ depends on where a machine rounds.
TOLERANCE = {"float32": 1e-3, "bfloat16": 3e-2}


def answer(folder: Path, **environment: str) -> dict[str, object]:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder)],
        env={**os.environ, **environment}, capture_output=True, text=True, timeout=500, check=True,
    )  # fmt: skip
    found: dict[str, object] = json.loads(run.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    return answer(tmp_path_factory.mktemp("here"))


def _agree(found, here):
    for precision, tolerance in TOLERANCE.items():
        for ours, theirs in zip(found["losses"][precision], here["losses"][precision], strict=True):
            assert ours == pytest.approx(theirs, rel=tolerance), (precision, found, here)


def test_without_the_native_library(here, tmp_path):
    found = answer(tmp_path, HILLOCK_NATIVE="0")
    assert not found["native"]
    _agree(found, here)


def test_without_a_compiler(here, tmp_path):
    found = answer(tmp_path, PATH=str(tmp_path), CXX="", HILLOCK_CACHE=str(tmp_path))
    assert not found["native"]
    _agree(found, here)


@pytest.mark.skipif(torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"), reason="needs x86 with AVX2")
def test_with_torchs_kernels_for_avx2(here, tmp_path):
    # Neither AVX512 nor AMX in torch's own loops and in oneDNN.
    _agree(answer(tmp_path, HILLOCK_NATIVE="0", ATEN_CPU_CAPABILITY="avx2", ONEDNN_MAX_CPU_ISA="AVX2"), here)


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
@pytest.mark.skipif(torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"), reason="needs x86 with AVX2")
def test_with_native_kernels_built_for_avx2(here, tmp_path):
    compiler = tmp_path / "g++"
    compiler.write_text(f'#!/bin/sh\nexec {shutil.which("g++")} "$@" -march=x86-64-v3\n')  # the last -march counts
    compiler.chmod(0o755)
    settings = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
    found = answer(tmp_path, CXX=str(compiler), HILLOCK_CACHE=str(tmp_path / "cache"), **settings)
    assert found["native"]
    assert not found["tiles"]
    _agree(found, here)
