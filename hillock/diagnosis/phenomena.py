"""The phenomena that textbooks tell of, each produced on the spot and measured: `hillock diagnose --show NAME`.

Every one trains or probes small networks on the embedded scanned digits, with fixed seeds, in seconds to a minute.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy
import torch
from torch import Tensor, nn

from hillock.diagnosis.interval import mean_interval
from hillock.diagnosis.parameters import sign_agreement
from hillock.diagnosis.probe import probe
from hillock.errors import UnknownNameError
from hillock.randomness import generator

__all__ = ["PHENOMENA", "Phenomenon", "Shown", "produce"]

Numbers = dict[str, float]


@dataclasses.dataclass(frozen=True)
class Phenomenon:
    """One phenomenon: what is claimed of it, and the function that measures it and says whether it was so."""

    name: str
    claim: str
    measure: Callable[[], tuple[bool, Numbers, list[str]]]


@dataclasses.dataclass(frozen=True)
class Shown:
    """A phenomenon as measured here."""

    name: str
    claim: str
    holds: bool
    numbers: Numbers
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        verdict = "holds here" if self.holds else "does not hold here"
        return "\n".join([f"{self.name}: {self.claim}", *(f"  {line}" for line in self.lines), f"  -> {verdict}"])

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return {**dataclasses.asdict(self), "lines": list(self.lines)}


def produce(name: str) -> Shown:
    """Measure one phenomenon; an unknown name lists those there are."""
    known = {phenomenon.name: phenomenon for phenomenon in PHENOMENA}
    if name not in known:
        raise UnknownNameError("phenomenon", name, known)
    phenomenon = known[name]
    holds, numbers, lines = phenomenon.measure()
    return Shown(name, phenomenon.claim, holds, numbers, tuple(lines))


# What all of them share ----------------------------------------------------------------------------------------------


def _digits(*, centred: bool = True) -> tuple[Tensor, Tensor]:
    """Pictures [N, 1, 8, 8] and labels of the training part; without centring they are all from 0 to 1."""
    from hillock import data

    split = data.load("digits").train
    pictures = split.images.float() / 255
    if centred:
        pictures = (pictures - pictures.mean()) / pictures.std()
    return pictures, split.labels


def _perceptron(activation: str, depth: int, seed: int, width: int = 64) -> nn.Module:
    from hillock.networks import network

    return network(f"mlp{depth}", activation=activation, input_channels=1, image_size=8, seed=seed, width=width)


def _trained(model: nn.Module, rate: float, steps: int, seed: int, warm_up: int = 10) -> float:
    """Train by SGD with momentum 0.9 and batches of 64; return the mean training error of the last quarter."""
    inputs, targets = _digits()
    order = torch.randperm(len(inputs), generator=generator(seed, "phenomenon", "order"))
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    model.train()
    wrong: list[float] = []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / max(warm_up, 1))
        chosen = order[(torch.arange(64) + 64 * step) % len(order)]
        optimizer.zero_grad()
        scores = model(inputs[chosen])
        nn.functional.cross_entropy(scores, targets[chosen]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        wrong.append(float((scores.argmax(1) != targets[chosen]).float().mean()))
    return float(numpy.mean(wrong[-steps // 4 :]))


# The phenomena -------------------------------------------------------------------------------------------------------


def _saturation() -> tuple[bool, Numbers, list[str]]:
    from hillock.activations.catalogue import find
    from hillock.diagnosis.examine import diagnose

    sigmoid = find("sigmoid")
    low, middle, high = sigmoid.slope(torch.tensor([-10.0, 0.0, 10.0], dtype=torch.float64)).tolist()
    network = _perceptron("sigmoid", 3, 0)
    with torch.no_grad():
        for layer in [module for module in network.modules() if isinstance(module, nn.Linear)][:-1]:
            layer.weight.mul_(10.0)
    inputs, targets = _digits()
    found = diagnose(network, [(inputs[:512], targets[:512])]).of("saturated")
    lines = [
        f"sigmoid'(0) = {middle:.4g}, sigmoid'(-10) = {low:.4g}, sigmoid'(10) = {high:.4g}: {middle / high:,.0f} "
        "times smaller, but not 0",
        *(f"weights times 10: {finding.explanation}" for finding in found[:1]),
    ]
    return low < 1e-4 and bool(found), {"slope_0": middle, "slope_10": high}, lines


def _zig_zag() -> tuple[bool, Numbers, list[str]]:
    numbers: Numbers = {}
    for centred in (False, True):
        inputs, targets = _digits(centred=centred)
        inputs, targets = inputs[:256], targets[:256]
        model = _perceptron("tanh", 2, 0, width=32)
        layer = next(module for module in model.modules() if isinstance(module, nn.Linear))
        single = []
        for index in range(32):
            loss = nn.functional.cross_entropy(model(inputs[index : index + 1]), targets[index : index + 1])
            (gradient,) = torch.autograd.grad(loss, layer.weight)
            seen = inputs[index].flatten() != 0  # a weight whose input is 0 is not pushed at all
            single.append(sign_agreement(gradient[:, seen]))
        (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(model(inputs), targets), layer.weight)
        used = inputs.flatten(1).abs().amax(0) > 0
        name = "centred" if centred else "positive"
        numbers[f"{name}_single"] = float(numpy.mean(single))
        numbers[f"{name}_batch"] = sign_agreement(gradient[:, used])
        values = torch.linalg.svdvals(inputs.flatten(1)[:, used].double())
        numbers[f"{name}_condition"] = float((values[0] / values[len(values) // 2]) ** 2)
    lines = [
        f"one example, inputs from 0 to 1: signs of a unit's gradients agree {numbers['positive_single']:.3f}; "
        f"centred inputs {numbers['centred_single']:.3f}",
        f"a batch of 256: {numbers['positive_batch']:.3f} against {numbers['centred_batch']:.3f}: it mixes the signs",
        f"largest over middle eigenvalue of X'X: {numbers['positive_condition']:.0f} against "
        f"{numbers['centred_condition']:.0f}: the valley is longer and narrower",
    ]
    return numbers["positive_single"] > 0.999 and numbers["centred_single"] < 0.9, numbers, lines


def _dead_units() -> tuple[bool, Numbers, list[str]]:
    inputs, targets = _digits()
    numbers: Numbers = {}
    lines = []
    for rate in (0.02, 0.1, 0.13, 0.16, 0.2, 0.8):
        model = _perceptron("relu", 4, 0)
        error = _trained(model, rate, 150, 0, warm_up=0)
        evidence = probe(model, [(inputs, targets)], samples=len(inputs))
        units = sum(site.units for site in evidence.sites)
        dead = sum(int((site.active == 0).sum()) for site in evidence.sites)
        numbers[f"rate_{rate:g}"] = dead / units
        lines.append(f"rate {rate:4g}: {dead / units:6.1%} of {units} ReLUs never active, training error {error:.1%}")
    shares = list(numbers.values())
    return max(shares) >= 0.1 > shares[0], numbers, lines


def _mean_shift() -> tuple[bool, Numbers, list[str]]:
    from hillock.activations.moments import mean, second_moment

    inputs, targets = _digits()
    numbers: Numbers = {}
    lines = []
    for name in ("relu", "elu"):
        model = _perceptron(name, 5, 0)
        _trained(model, 0.02, 100, 0)
        sites = probe(model, [(inputs[:512], targets[:512])]).sites
        average = float(numpy.mean([float(site.h_sum.sum() / site.elements / site.units) for site in sites]))
        shift = float(numpy.mean([site.mean_shift for site in sites]))
        numbers |= {f"{name}_mean": average, f"{name}_shift": shift}
        theory = mean(name) ** 2 / second_moment(name)
        lines.append(
            f"{name:4}: mean output {average:.3f} (N(0, 1) inputs: {mean(name):.3f}), mean shift M {shift:.2f} "
            f"(independent N(0, 1) inputs: {theory:.3f})"
        )
    return (
        abs(numbers["elu_mean"]) < numbers["relu_mean"] and numbers["elu_shift"] < numbers["relu_shift"],
        numbers,
        lines,
    )


def _vanishing() -> tuple[bool, Numbers, list[str]]:
    inputs, targets = _digits()
    numbers: Numbers = {}
    lines = []
    for name in ("sigmoid", "relu"):
        sites = probe(_perceptron(name, 20, 0), [(inputs[:512], targets[:512])], stage="initial").sites
        first, last = sites[0].gradient_norm or 0.0, sites[-1].gradient_norm or 0.0
        factor = (first / last) ** (1 / (len(sites) - 1))
        numbers |= {f"{name}_factor": factor, f"{name}_total": first / last}
        lines.append(f"{name:7} 20 layers: gradient times {factor:.3f} per layer, {first / last:.2g} over {len(sites)}")
    return numbers["sigmoid_total"] < 1e-3 and numbers["relu_total"] > 1e-3, numbers, lines


def _degradation() -> tuple[bool, Numbers, list[str]]:
    """Scaled down: width 4, 8x8 digits, 60 steps, three paired seeds."""
    from hillock.networks import network

    seeds = range(3)
    errors: dict[str, list[float]] = {}
    for name in ("plain20", "plain56", "resnet20", "resnet56"):
        errors[name] = [
            _trained(network(name, input_channels=1, image_size=8, seed=seed, width=4), 0.1, 60, seed) for seed in seeds
        ]
    numbers: Numbers = {name: float(numpy.mean(values)) for name, values in errors.items()}
    lines = []
    for family in ("plain", "resnet"):
        gap, half = paired(errors[f"{family}56"], errors[f"{family}20"])
        numbers |= {f"{family}_gap": gap, f"{family}_half": half}
        lines.append(
            f"{family}-56 against {family}-20: training error {numbers[f'{family}56']:.1%} against "
            f"{numbers[f'{family}20']:.1%}, difference {gap:+.1%} [{gap - half:+.1%}, {gap + half:+.1%}]"
        )
    return numbers["plain_gap"] - numbers["plain_half"] > 0, numbers, lines


class _Layers(nn.Module):
    """Linear layers, each after a ReLU, with or without a path around each (pre-activation, He et al. 2016)."""

    def __init__(self, depth: int, width: int, *, residual: bool) -> None:
        super().__init__()
        self.residual = residual
        self.stack = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(depth))
        self.head = nn.Linear(width, 10)
        for number, layer in enumerate([*self.stack, self.head]):
            assert isinstance(layer, nn.Linear)
            deviation = math.sqrt(2 / width) / (math.sqrt(depth) if residual else 1)
            with torch.no_grad():
                layer.weight.normal_(0, deviation, generator=generator(0, "rank", number))

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for layer in self.stack:
            branch = layer(torch.relu(x))
            x = x + branch if self.residual else branch
        scores: Tensor = self.head(x)
        return scores


def _rank_collapse() -> tuple[bool, Numbers, list[str]]:
    inputs, targets = _digits()
    numbers: Numbers = {}
    lines = []
    for residual in (False, True):
        sites = probe(_Layers(40, 64, residual=residual), [(inputs[:512], targets[:512])], stage="initial").sites
        ranks = [site.rank.effective(centred=False) for site in sites]
        name = "residual" if residual else "plain"
        numbers |= {f"{name}_first": ranks[0], f"{name}_last": ranks[-1]}
        shown = ", ".join(f"{ranks[depth]:.1f}" for depth in (0, 9, 19, 29, 39))
        lines.append(f"{name:8} effective rank of 64 units at layers 1, 10, 20, 30, 40: {shown}")
    return numbers["plain_last"] < 0.5 * numbers["residual_last"], numbers, lines


def paired(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """Return the mean difference first - second over pairs and the half width of its 95 % t interval.

    >>> mean, half = paired([2.0, 3.0, 4.0], [1.0, 2.0, 3.0])
    >>> mean, half
    (1.0, 0.0)
    """
    return mean_interval([one - other for one, other in zip(first, second, strict=True)])


PHENOMENA: tuple[Phenomenon, ...] = (
    Phenomenon("saturation", "at inputs of ±10 a sigmoid passes practically no gradient", _saturation),
    Phenomenon("zig-zag", "all-positive inputs push all weights of a unit the same way", _zig_zag),
    Phenomenon("dead-units", "at a high learning rate 10 % of the ReLUs and more die", _dead_units),
    Phenomenon("mean-shift", "ELU's outputs lie nearer to mean 0 than ReLU's", _mean_shift),
    Phenomenon("vanishing", "in deep sigmoid networks the gradient vanishes, in ReLU networks it need not", _vanishing),
    Phenomenon("degradation", "the deeper plain network has the higher training error", _degradation),
    Phenomenon("rank-collapse", "without a residual path depth collapses the rank of what passes", _rank_collapse),
)
