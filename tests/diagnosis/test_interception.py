"""Every activation is seen, whoever wrote it and however; what is not seen is said."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from hillock.diagnosis import diagnose
from hillock.diagnosis.probe import probe


class Written(nn.Module):
    """Two linear layers around one activation, written as a function of z."""

    def __init__(self, activate: Any) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(64, 32), nn.Linear(32, 10)
        self.activate = activate

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.activate(self.first(x.flatten(1))))


class OwnFunction(torch.autograd.Function):
    """A ReLU of one's own, opaque to every interception of functions."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * (x > 0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * (ctx.saved_tensors[0] > 0)


class Opaque(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return OwnFunction.apply(x)


class Composed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(x)


WRITINGS = {
    "module": nn.ReLU(),
    "module in place": nn.ReLU(inplace=True),
    "function": functional.relu,
    "function in place": lambda z: functional.relu(z, inplace=True),
    "positional in place": lambda z: functional.relu(z, True),
    "underscore": functional.relu_,
    "method": lambda z: z.relu(),
    "method in place": lambda z: z.relu_(),
    "torch function": torch.relu,
    "clamp": lambda z: z.clamp(min=0),
    "clamp in place": lambda z: z.clamp_(0),
    "clamp_min": lambda z: torch.clamp_min(z, 0),
    "own autograd function": Opaque(),
    "gated by itself": Composed(),
    "threshold": nn.Threshold(0.0, 0.0),
    "leaky": lambda z: functional.leaky_relu(z, 0.0),
    "per channel": nn.PReLU(32, init=0.0),
}


@pytest.mark.parametrize("writing", WRITINGS)
def test_an_activation_is_seen_however_it_is_written(digits: Any, writing: str) -> None:
    torch.set_rng_state(torch.Generator().manual_seed(0).get_state())
    network = Written(WRITINGS[writing])
    plain = Written(torch.relu)
    plain.load_state_dict(network.state_dict(), strict=False)
    evidence, expected = probe(network, digits), probe(plain, digits)
    assert evidence.not_seen == ()
    (site,), (same,) = evidence.sites, expected.sites
    assert site.units == 32
    assert site.samples == 512
    assert site.z_rms == same.z_rms
    if writing != "gated by itself":
        assert site.gradient_norm == pytest.approx(same.gradient_norm, rel=1e-6)
        assert torch.equal(site.responding, same.responding)
        assert site.h_rms == same.h_rms


def test_the_statistics_are_those_of_the_plain_computation(digits: Any) -> None:
    network = Written(nn.Tanh())
    site = probe(network, digits[:1]).sites[0]
    inputs, targets = digits[0]
    z = network.first(inputs.flatten(1))
    h = torch.tanh(z)
    h.retain_grad()
    functional.cross_entropy(network.second(h), targets).backward()
    assert site.z_rms == pytest.approx(float(z.detach().double().square().mean().sqrt()), rel=1e-6)
    per_sample = (h.grad.double() * 128).square().sum(1).mean().sqrt()
    assert site.gradient_norm == pytest.approx(float(per_sample), rel=1e-6)
    flat = (1 - h.detach() ** 2) < 0.05
    assert torch.equal(site.low, (flat & (z < 0)).sum(0).double())
    assert torch.equal(site.high, (flat & (z >= 0)).sum(0).double())
    unit = functional.normalize(h.detach(), dim=1)
    cosine = ((unit @ unit.T).sum() - 128) / (128 * 127)
    assert site.cosine.mean == pytest.approx(float(cosine), abs=1e-5)
    values = torch.linalg.svdvals(h.detach().double())
    shares = values / values.sum()
    assert site.rank.effective(centred=False) == pytest.approx(
        float(torch.exp(-(shares * shares.log()).sum())), rel=1e-3
    )


class ReUsed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(64, 32), nn.Linear(32, 16)])
        self.head = nn.Linear(16, 10)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for layer in self.layers:
            x = self.act(layer(x))
        return self.head(x)


def test_a_module_used_twice_has_two_sites(digits: Any) -> None:
    sites = probe(ReUsed(), digits).sites
    assert [(site.name, site.units) for site in sites] == [("act", 32), ("act#2", 16)]
    assert all(site.gradient_norm for site in sites)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 12, batch_first=True)
        self.head = nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x.squeeze(1))[0][:, -1])


def test_the_gates_of_an_lstm_are_seen_as_operators(digits: Any) -> None:
    network = Recurrent()
    evidence = probe(network, digits)
    assert {(site.name, site.level) for site in evidence.sites} == {
        ("lstm:sigmoid", "operator"),
        ("lstm:tanh", "operator"),
    }
    with torch.no_grad():
        network.lstm.bias_ih_l0.fill_(30.0)
    found = diagnose(network, digits)
    assert [finding.where for finding in found.of("saturated")] == ["lstm:sigmoid"]


class Blind(nn.Module):
    """A part that nothing can look into: an exponential by itself, and a scripted module."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head, self.never = nn.Linear(64, 16), nn.Linear(16, 10), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.exp(-self.first(x.flatten(1)).square()))


def test_what_was_not_seen_is_listed(digits: Any) -> None:
    lines = probe(Blind(), digits).not_seen
    assert any("operator exp" in line for line in lines)
    assert any(line.startswith("never: Linear did not run") for line in lines)


def test_what_is_kept_does_not_grow_with_the_number_of_samples(digits: Any, perceptron: Any) -> None:
    sizes = [len(pickle.dumps(probe(perceptron(nn.Tanh), digits[:count]).sites)) for count in (1, 4)]
    # Numbers are pickled with as many digits as they have.
    assert sizes[1] <= sizes[0] + 256


def test_a_gate_that_is_no_unit_is_listed(digits: Any) -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.gate = nn.Linear(64, 10), nn.Parameter(torch.zeros(10))

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x.flatten(1)) * torch.sigmoid(self.gate)

    evidence = probe(Gated(), digits[:1])
    assert evidence.sites == []
    assert any("sigmoid of a vector" in line for line in evidence.not_seen)


def test_the_softmax_of_attention_is_listed_once(digits: Any) -> None:
    class Attending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True) for _ in range(2))
            self.head = nn.Linear(8, 10)

        def forward(self, x: Tensor) -> Tensor:
            x = x.squeeze(1)
            for block in self.blocks:
                x = block(x)
            return self.head(x.mean(1))

    evidence = probe(Attending(), digits)
    assert [line for line in evidence.not_seen if "softmax" in line] == [
        "blocks.0.self_attn and 1 more (MultiheadAttention): the softmax of attention is not a unit-wise activation: "
        "not examined"
    ]
    assert [site.units for site in evidence.sites] == [16, 16]  # features last: units, not time steps


def test_channels_are_units_and_positions_are_pooled(digits: Any) -> None:
    network = nn.Sequential(nn.Conv2d(1, 6, 3), nn.GELU(), nn.Flatten(), nn.Linear(216, 10))
    (site,) = probe(network, digits).sites
    assert (site.units, site.rows, site.elements) == (6, 512, 512 * 36)


def test_an_opaque_activation_is_seen_even_where_it_is_dead(digits: Any) -> None:
    network = Written(Opaque())
    with torch.no_grad():
        network.first.bias.fill_(-1e4)
    (site,) = probe(network, digits).sites
    assert site.responding.sum() == 0
