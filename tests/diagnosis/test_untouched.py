"""A probe leaves no trace: generators, buffers, gradients, flags, attributes, autocast and the training itself."""

from __future__ import annotations

import copy
import random
from typing import Any

import numpy
import pytest
import torch
from torch import Tensor, nn

from hillock.diagnosis import HealthObserver, diagnose, watch
from hillock.randomness import generator


class Restless(nn.Module):
    """A module that changes everything a module can change in forward, and draws from every generator."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(4)
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.head = nn.Linear(4, 10)
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("later", None)
        self.calls = 0
        self.history: list[float] = []
        self.table = {"last": 0.0}
        self.loose = torch.zeros(3)
        self.own = generator(3, "restless")

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.seen += 1
        self.later = torch.ones(2)
        self.loose.add_(1)
        self.history.append(random.random())
        self.table["last"] = float(numpy.random.random())  # noqa: NPY002 - a foreign network may do so
        noise = torch.rand(4, generator=self.own).sum()
        self.surprise = 1
        x = torch.relu(self.norm(self.conv(x)))
        return self.head(nn.functional.dropout(x, 0.5, self.training).mean((2, 3))) + noise


def state_of(network: Restless) -> dict[str, Any]:
    return {
        "tensors": {name: value.clone() for name, value in network.state_dict().items()},
        "plain": (network.calls, list(network.history), dict(network.table), network.loose.tolist(), network.later),
        "own": network.own.get_state().tolist(),
        "flags": [module.training for module in network.modules()],
        "gradients": [None if weight.grad is None else weight.grad.clone() for weight in network.parameters()],
        "python": random.getstate(),
        "numpy": numpy.random.get_state()[1].tolist(),  # noqa: NPY002
        "torch": torch.get_rng_state().tolist(),
        "attributes": sorted(vars(network)),
        "hooks": [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in network.modules()],
    }


def assert_same(before: dict[str, Any], after: dict[str, Any]) -> None:
    for name, value in before["tensors"].items():
        assert torch.equal(value, after["tensors"][name]), name
    for one, other in zip(before["gradients"], after["gradients"], strict=True):
        assert (one is None and other is None) or torch.equal(one, other)
    for key in set(before) - {"tensors", "gradients"}:
        assert before[key] == after[key], key


@pytest.mark.parametrize("training", [True, False])
def test_a_probe_restores_everything(digits: Any, training: bool) -> None:
    network = Restless().train(training)
    nn.functional.cross_entropy(network(digits[0][0]), digits[0][1]).backward()
    del network.surprise
    before = state_of(network)
    with torch.autocast("cpu", torch.bfloat16):
        diagnose(network, digits)
        assert torch.is_autocast_enabled("cpu")
    assert_same(before, state_of(network))


def test_a_probe_restores_everything_when_the_network_raises(digits: Any) -> None:
    network = Restless()
    before = state_of(network)
    with pytest.raises(ValueError, match="a network that runs on the probe batch"):
        diagnose(network, [(torch.ones(4, 3, 8, 8), torch.zeros(4, dtype=torch.long))])
    assert_same(before, state_of(network))


def test_a_probe_sees_the_same_every_time(digits: Any) -> None:
    network = Restless()
    first, second = diagnose(network, digits), diagnose(network, digits)
    assert first.facts["loss"] == second.facts["loss"]
    assert first.profiles == second.profiles


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_a_probe_works_where_gradients_are_off(digits: Any, context: Any) -> None:
    network = Restless()
    with context():
        found = diagnose(network, [(digits[0][0].clone(), digits[0][1])])
        assert not torch.is_grad_enabled()
    assert found.profile("gradient_norm").measured[0] > 0


def train(network: nn.Module, digits: Any, steps: int = 25) -> list[Tensor]:
    torch.set_rng_state(generator(0, "test").get_state())
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    for step in range(steps):
        inputs, targets = digits[step % len(digits)]
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(inputs), targets).backward()
        optimizer.step()
    return [value.clone() for value in network.state_dict().values()]


def test_weights_are_the_same_with_and_without_watching(digits: Any) -> None:
    network = Restless()
    network.norm = nn.BatchNorm2d(4)
    twin = copy.deepcopy({"state": network.state_dict()})["state"]
    plain = train(network, digits)
    watched = Restless()
    watched.load_state_dict(twin)
    with watch(watched, digits[0], every=5, budget=10.0) as health:
        seen = train(watched, digits)
    assert health.step == 25
    assert len(health.lines) == 7  # the start, five probes, the end
    assert all(torch.equal(one, other) for one, other in zip(plain, seen, strict=True))


def test_a_planted_disturbance_is_noticed(digits: Any) -> None:
    """The comparison above bites: one extra draw from the global generator changes the weights."""
    network = Restless()
    twin = copy.deepcopy(network.state_dict())
    plain = train(network, digits)
    other = Restless()
    other.load_state_dict(twin)

    def draw(*_: object) -> None:
        torch.rand(1)

    hook = other.conv.register_forward_hook(draw)
    disturbed = train(other, digits)
    hook.remove()
    assert not all(torch.equal(one, two) for one, two in zip(plain, disturbed, strict=True))


def test_hillocks_own_training_is_the_same_with_and_without_health(tmp_path: Any) -> None:
    from hillock.training import Recipe, train

    recipe = Recipe(data="digits", network="resnet8", network_options={"width": 4}, epochs=1, compile="off")
    observer = HealthObserver(every=5, budget=10.0)
    watched = train(recipe, out=tmp_path / "watched", observers=[observer], quiet=True)
    plain = train(recipe, out=tmp_path / "plain", quiet=True)
    one, other = watched.load_model().state_dict(), plain.load_model().state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert observer.diagnosis is not None
    assert (watched.folder / "health.jsonl").read_text().count("\n") == len(observer.recorder.lines) > 3
