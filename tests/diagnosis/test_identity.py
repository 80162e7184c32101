"""Weights after 200 steps are identical with and without watching.

Eager, compiled, bfloat16, with accumulated gradients and averaged weights, and with two processes.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from hillock.diagnosis import watch
from hillock.networks import network
from hillock.randomness import generator

STEPS = 200


def build() -> nn.Module:
    model = network("resnet8", activation="gelu", input_channels=1, image_size=8, width=2)
    model.head = nn.Sequential(nn.Dropout(0.1), model.head)  # draws from the global generator in every step
    return model


def trained(digits: Any, mode: str, *, watched: bool) -> list[Tensor]:
    torch._dynamo.reset()  # a second network of the same code would count as recompiling the first
    torch.set_rng_state(generator(1, "identity").get_state())
    model = build()
    call: Any = torch.compile(model) if mode == "compiled" else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    seen: Any = contextlib.nullcontext()
    if watched:
        seen = watch(call, digits[0], every=40, budget=100.0, optimizer=optimizer)
    with seen as health:
        for step in range(STEPS):
            inputs, targets = digits[step % len(digits)]
            optimizer.zero_grad()
            for part in (slice(32), slice(32, 64)) if mode == "accumulated" else (slice(32),):
                with torch.autocast("cpu", torch.bfloat16, enabled=mode == "bfloat16"):
                    loss = nn.functional.cross_entropy(call(inputs[part]), targets[part])
                loss.backward()
            optimizer.step()
            averaged.update_parameters(model)
    if watched:
        assert health.step == STEPS
        assert len(health.lines) == 7
        assert health.lines[2]["updates"]
    return [value.clone() for value in (*model.state_dict().values(), *averaged.state_dict().values())]


# What torch's own compiler warns about is not ours to fix.
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*:UserWarning:torch")
@pytest.mark.filterwarnings("ignore:.*:FutureWarning:torch")
@pytest.mark.parametrize("mode", ["eager", "bfloat16", "compiled", "accumulated"])
def test_watching_changes_no_bit(digits: Any, mode: str) -> None:
    plain = trained(digits, mode, watched=False)
    with torch._dynamo.config.patch(error_on_recompile=mode == "compiled"):
        seen = trained(digits, mode, watched=True)
    assert all(torch.equal(one, other) for one, other in zip(plain, seen, strict=True))


PROGRAM = """
import os, sys, torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from hillock.diagnosis import watch
from hillock.networks import network
from hillock.randomness import generator

torch.set_num_threads(1)
torch.distributed.init_process_group("gloo")
rank = torch.distributed.get_rank()
digests = []
for watched in (False, True):
    model = DistributedDataParallel(network("mlp4", input_channels=1, image_size=8, width=16))
    inputs = torch.randn(64, 1, 8, 8, generator=generator(rank, "inputs"))
    targets = torch.randint(10, (64,), generator=generator(rank, "targets"))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

    def train():
        for _ in range(200):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs), targets).backward()
            optimizer.step()

    if watched:
        with watch(model, (inputs, targets), every=40, budget=100.0) as health:
            train()
        if rank == 0:
            assert health.step == 200 and health.diagnosis is not None, health.step
        else:
            assert health.lines == []
    else:
        train()
    digests.append(torch.cat([weight.detach().flatten() for weight in model.parameters()]))
assert torch.equal(*digests)
if rank == 0:
    open(sys.argv[1], "w").write("identical")
torch.distributed.destroy_process_group()
"""


def test_watching_changes_no_bit_with_two_processes(tmp_path: Path) -> None:
    program, answer = tmp_path / "program.py", tmp_path / "answer"
    program.write_text(PROGRAM)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(program)]
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, str(answer)], env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-2000:]
    assert answer.read_text() == "identical"
