"""The fault library: small networks on scanned digits, each with one planted fault, and healthy controls.

A *case* is a kind of fault (or `healthy`), a network, an activation and a seed. `trained(case)` builds it, trains it
for a few dozen steps under `hillock.watch` and returns the diagnosis. Every kind says which rules would name it.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from hillock.activations.moments import gain
from hillock.diagnosis import Diagnosis, watch
from hillock.diagnosis.evidence import Evidence
from hillock.networks import network
from hillock.randomness import generator

STEPS = 40
BATCH = 64
PROBE = 384
CLASSES = 10

# Name -> (network, options, learning rate of SGD with momentum 0.9, has batch norm).
NETWORKS: dict[str, tuple[str, dict[str, Any], float, bool]] = {
    "mlp6": ("mlp6", {"width": 48}, 0.02, False),
    "plain8": ("plain8", {"width": 8}, 0.05, True),
    "resnet8": ("resnet8", {"width": 8}, 0.05, True),
}
FAULT_ACTIVATIONS = ("relu", "elu", "gelu", "tanh")
# Bounded functions that a deep perceptron without normalisation cannot be trained with.
VANISHING_ACTIVATIONS = ("sigmoid", "hard_sigmoid", "gaussian", "softplus")


@dataclasses.dataclass(frozen=True)
class Case:
    """One network to be built, spoiled, trained and examined."""

    kind: str
    network: str
    activation: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.kind}/{self.network}/{self.activation}/{self.seed}"


@dataclasses.dataclass
class Setting:
    """A training about to start; faults change it."""

    case: Case
    model: nn.Module
    inputs: Tensor
    targets: Tensor
    rate: float
    excluded: tuple[nn.Parameter, ...] = ()
    before_step: Callable[[Setting, int], None] = lambda setting, step: None
    batch: int = BATCH


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of fault: how it is planted, which rules name it, on which networks and activations it makes sense."""

    name: str
    plant: Callable[[Setting], None]
    rules: frozenset[str]
    networks: tuple[str, ...] = tuple(NETWORKS)
    activations: tuple[str, ...] = FAULT_ACTIVATIONS
    optimisation: bool = False  # a treatment of the recipe can repair it


def layers(model: nn.Module) -> list[nn.Module]:
    """The linear and convolution layers, first to last."""
    return [module for module in model.modules() if isinstance(module, (nn.Linear, nn.Conv2d))]


def norms(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]


@torch.no_grad()
def scale_hidden(setting: Setting, factor: float) -> None:
    for layer in layers(setting.model)[1:-1]:
        layer.weight.mul_(factor)


@torch.no_grad()
def unit_normal(setting: Setting) -> None:
    for number, layer in enumerate(layers(setting.model)):
        layer.weight.normal_(generator=generator(setting.case.seed, "unit normal", number))


@torch.no_grad()
def biases_down(setting: Setting) -> None:
    # For most activations -5 cuts a unit off; where a norm precedes it, its shift is the bias.
    targets = norms(setting.model) or layers(setting.model)[:-1]
    for module in targets:
        module.bias.fill_(-5.0)


def frozen(setting: Setting) -> None:
    layer = layers(setting.model)[len(layers(setting.model)) // 2]
    if setting.case.seed % 4 < 2:
        layer.weight.requires_grad_(False)
    else:
        setting.excluded = (layer.weight,)


@torch.no_grad()
def dead_block(setting: Setting) -> None:
    layer = layers(setting.model)[len(layers(setting.model)) // 2]
    layer.weight.zero_()
    if layer.bias is not None:
        layer.bias.zero_()
    layer.weight.requires_grad_(False)


class Stuck(nn.Module):
    """Gives every second unit of what passes the same value for every input."""

    def forward(self, x: Tensor) -> Tensor:
        mask = torch.ones(x.shape[1], device=x.device)
        mask[::2] = 0
        mask = mask.reshape(1, -1, *[1] * (x.dim() - 2))
        return x * mask + 0.7 * (1 - mask)


def constant_channels(setting: Setting) -> None:
    name, activation = [
        (name, module) for name, module in setting.model.named_modules() if type(module).__name__ == "ActivationLayer"
    ][1]
    replace(setting.model, name, nn.Sequential(Stuck(), activation))


def replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(parent), leaf, module)


@torch.no_grad()
def zero_scale(setting: Setting) -> None:
    norm = norms(setting.model)[1]
    norm.weight.zero_()
    norm.weight.requires_grad_(False)


def evaluating_norms(setting: Setting) -> None:
    def before(setting: Setting, step: int) -> None:
        for norm in norms(setting.model):
            norm.eval()

    setting.before_step = before
    before(setting, 0)


def without_norms(setting: Setting) -> None:
    """Take out the normalisation and keep torch's default draw and a rate that normalised networks stand."""
    for name, module in list(setting.model.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            replace(setting.model, name, nn.Identity())
    with torch.no_grad():
        for number, layer in enumerate(layers(setting.model)):
            bound = 1 / math.sqrt(layer.weight[0].numel())
            layer.weight.uniform_(-bound, bound, generator=generator(setting.case.seed, "default", number))


def shuffled_labels(setting: Setting) -> None:
    order = torch.randperm(len(setting.targets), generator=generator(setting.case.seed, "shuffle"))
    setting.targets = setting.targets[order]


def one_label(setting: Setting) -> None:
    setting.targets = torch.full_like(setting.targets, 3)


def unscaled(setting: Setting) -> None:
    setting.inputs = digits()[2] * 255


def constant_inputs(setting: Setting) -> None:
    setting.inputs = torch.full_like(setting.inputs, 0.5)


@torch.no_grad()
def duplicated(setting: Setting) -> None:
    for layer in layers(setting.model)[:-1]:
        half = layer.weight.shape[0] // 2
        layer.weight[half : 2 * half] = layer.weight[:half]
        if layer.bias is not None:
            layer.bias[half : 2 * half] = layer.bias[:half]


def nan_at_step(setting: Setting) -> None:
    def before(setting: Setting, step: int) -> None:
        if step == STEPS // 2:
            with torch.no_grad():
                layers(setting.model)[2].weight.view(-1)[0] = torch.nan

    setting.before_step = before


class Detached(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.detach()


def detached(setting: Setting) -> None:
    names = [name for name, module in setting.model.named_modules() if type(module).__name__ == "ActivationLayer"]
    name = names[1 if setting.case.network == "mlp6" else 0]
    replace(setting.model, name, nn.Sequential(setting.model.get_submodule(name), Detached()))


def rate(factor: float) -> Callable[[Setting], None]:
    def plant(setting: Setting) -> None:
        setting.rate *= factor

    return plant


def deep(setting: Setting) -> None:
    """Twenty layers of a bounded function, no normalisation."""
    setting.model = network(
        "mlp20", activation=setting.case.activation, input_channels=1, image_size=8, seed=setting.case.seed, width=48
    )


def tiny_batches(setting: Setting) -> None:
    setting.batch = 2


SCALE = {"initialisation", "exploding", "vanishing", "initial_loss"}
LOST = {"identical_samples", "rank_collapse", "plateau"}
DEAD = {"gradient_dead", "never_active", "dying", "saturated"}

KINDS: tuple[Kind, ...] = (
    Kind("gain_large", lambda s: scale_hidden(s, 4.0), frozenset(SCALE | {"saturated"}), ("mlp6",), optimisation=True),
    Kind("gain_small", lambda s: scale_hidden(s, 0.2), frozenset(SCALE | LOST), ("mlp6",), optimisation=True),
    Kind("unit_normal_weights", unit_normal, frozenset(SCALE | {"saturated"}), ("mlp6",), optimisation=True),
    Kind("deep_sigmoid", deep, frozenset({"vanishing"} | LOST), ("mlp6",), VANISHING_ACTIVATIONS, True),
    Kind(
        "rate_times_100",
        rate(100.0),
        frozenset({"learning_rate", "update_ratio", "non_finite"} | DEAD),
        optimisation=True,
    ),
    Kind("rate_over_1000", rate(1e-3), frozenset({"update_ratio"}), optimisation=True),
    Kind("bias_minus_5", biases_down, frozenset(DEAD | LOST | {"constant_units"}), optimisation=True),
    Kind("frozen_layer", frozen, frozenset({"not_trained"})),
    Kind("dead_block", dead_block, frozenset({"not_trained", "constant_units", "gradient_dead", "never_active"})),
    Kind("constant_channels", constant_channels, frozenset({"constant_units"})),
    Kind("zero_scale", zero_scale, frozenset({"batch_norm"}), ("plain8", "resnet8")),
    Kind("norm_evaluating", evaluating_norms, frozenset({"batch_norm"}), ("plain8", "resnet8")),
    Kind("norm_missing", without_norms, frozenset(SCALE | LOST | {"learning_rate"}), ("plain8",), optimisation=True),
    Kind("tiny_batches", tiny_batches, frozenset({"batch_norm"}), ("plain8", "resnet8")),
    Kind("labels_shuffled", shuffled_labels, frozenset({"labels"})),
    Kind("labels_constant", one_label, frozenset({"labels"})),
    Kind("inputs_unscaled", unscaled, frozenset({"inputs"})),
    Kind("inputs_constant", constant_inputs, frozenset({"inputs"})),
    Kind("units_duplicated", duplicated, frozenset({"equal_units"})),
    Kind("nan_at_step", nan_at_step, frozenset({"non_finite"})),
    Kind("detached", detached, frozenset({"not_trained"})),
)
BY_NAME = {kind.name: kind for kind in KINDS}
HEALTHY = "healthy"


@functools.lru_cache(maxsize=1)
def digits() -> tuple[Tensor, Tensor, Tensor]:
    """Normalised pictures [N, 1, 8, 8], labels [N], and the pictures on the scale from 0 to 1."""
    pictures, labels = load_digits(return_X_y=True)
    raw = torch.tensor(pictures, dtype=torch.float32).view(-1, 1, 8, 8) / 16
    order = torch.randperm(len(raw), generator=generator(0, "digits"))
    raw, targets = raw[order], torch.tensor(labels)[order]
    return (raw - raw.mean()) / raw.std(), targets, raw


def build(case: Case) -> Setting:
    """Return the training of a case, fault planted."""
    name, options, learning_rate, _ = NETWORKS[case.network]
    model = network(
        name, activation=case.activation, num_classes=CLASSES, input_channels=1, image_size=8, seed=case.seed, **options
    )
    inputs, targets, _ = digits()
    setting = Setting(case, model, inputs, targets, learning_rate * proper_rate(case.activation))
    if case.kind != HEALTHY:
        BY_NAME[case.kind].plant(setting)
    return setting


@functools.cache
def proper_rate(activation: str) -> float:
    """A large gain means weights and gradients larger than ReLU's; the step is reduced in proportion."""
    return min(1.0, math.sqrt(2) / gain(activation))


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a case."""

    case: Case
    diagnosis: Diagnosis
    evidence: tuple[Evidence, Evidence]  # before the first step, after the last
    accuracy: float  # on pictures that were not trained on, in evaluation mode
    loss: float


def train(setting: Setting, steps: int = STEPS, *, begin: Any = None, observe: Any = None) -> None:
    """SGD with momentum 0.9 and ten steps of warm-up, on the first 1,200 pictures.

    `begin(optimizer)` is called before the first step, `observe(step, loss)` after each.
    """
    excluded = {id(weight) for weight in setting.excluded}
    weights = [w for w in setting.model.parameters() if id(w) not in excluded and w.requires_grad]
    optimizer = torch.optim.SGD(weights, lr=setting.rate, momentum=0.9)
    order = torch.randperm(1200, generator=generator(setting.case.seed, "order"))
    setting.model.train()
    if begin is not None:
        begin(optimizer)
    for step in range(steps):
        setting.before_step(setting, step)
        for group in optimizer.param_groups:
            group["lr"] = setting.rate * min(1.0, (step + 1) / 10)
        start = step * setting.batch % (1200 - setting.batch)
        chosen = order[start : start + setting.batch]
        optimizer.zero_grad()
        scores = setting.model(setting.inputs[chosen])
        loss = nn.functional.cross_entropy(scores, setting.targets[chosen])
        if loss.requires_grad:
            loss.backward()
        optimizer.step()
        if observe is not None:
            observe(step, float(loss.detach()))


def trained(case: Case) -> Outcome:
    """Build, train under watch, examine."""
    setting = build(case)
    size = min(128, setting.batch) if setting.batch < BATCH else 128
    probes = [
        (setting.inputs[start : start + size], setting.targets[start : start + size])
        for start in range(0, PROBE if size > 2 else 64, size)
    ]
    with watch(setting.model, probes, every=STEPS // 2, budget=math.inf) as health:
        initial = health.recorder.evidence
        train(setting)
    final = health.recorder.evidence
    assert health.diagnosis is not None
    assert initial is not None
    assert final is not None
    accuracy, loss = judged(setting)
    return Outcome(case, health.diagnosis, (initial, final), accuracy, loss)


@torch.no_grad()
def judged(setting: Setting) -> tuple[float, float]:
    setting.model.eval()
    scores = setting.model(setting.inputs[1200:])
    targets = setting.targets[1200:]
    loss = float(nn.functional.cross_entropy(scores, targets))
    return float((scores.argmax(1) == targets).float().mean()), loss


def faulty_cases(seeds: int) -> Iterator[Case]:
    for kind in KINDS:
        for net in kind.networks:
            for activation in kind.activations:
                for seed in range(seeds):
                    yield Case(kind.name, net, activation, seed)


def healthy_cases(seeds: int, activations: tuple[str, ...]) -> Iterator[Case]:
    for net in NETWORKS:
        for activation in activations:
            for seed in range(seeds):
                yield Case(HEALTHY, net, activation, seed)
