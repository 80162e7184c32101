"""The kinds of fault: how each is planted, and which rules would name it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping

import torch
from setting import CHOSEN_ON, NETWORKS, REPORTED_ON, Setting, digits
from torch import Tensor, nn

from hillock.networks import network
from hillock.randomness import generator

ACTIVATIONS = {"chosen": CHOSEN_ON, "looked_at": REPORTED_ON, "reported": REPORTED_ON}
# What a perceptron of twenty layers without normalisation cannot be trained with.
VANISHING = {"chosen": ("hard_sigmoid",), "looked_at": ("sigmoid",), "reported": ("sigmoid",)}


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of fault.

    **Arguments**

    - `plant`: changes a healthy setting. `rules`: those that name this kind, by what they say.
    - `networks`, `activations` (by half): where it makes sense.
    - `optimisation`: a change of the recipe can repair it. Such a fault counts only if it hurt: if the accuracy fell
      below that of healthy controls. The other kinds are defects by their definition, whether or not ten digits suffer.
    """

    name: str
    plant: Callable[[Setting], None]
    rules: frozenset[str]
    networks: tuple[str, ...] = tuple(NETWORKS)
    activations: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=lambda: ACTIVATIONS)
    optimisation: bool = False

    @property
    def seeds(self) -> int:
        """Draws of each network and activation: more where there are fewer of those, for about a dozen cases a half."""
        return {1: 3, 2: 2}.get(len(self.networks), 1)


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
    if ACTIVATIONS[setting.case.half].index(setting.case.activation) % 2:
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
        if step == setting.steps // 2:
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
LOST = {"identical_samples", "rank_collapse"}
DEAD = {"gradient_dead", "never_active", "dying", "saturated"}

KINDS: tuple[Kind, ...] = (
    Kind("gain_large", lambda s: scale_hidden(s, 4.0), frozenset(SCALE | {"saturated"}), ("mlp6",), optimisation=True),
    Kind("gain_small", lambda s: scale_hidden(s, 0.2), frozenset(SCALE | LOST), ("mlp6",), optimisation=True),
    Kind("unit_normal_weights", unit_normal, frozenset(SCALE | {"saturated"}), ("mlp6",), optimisation=True),
    Kind("deep_sigmoid", deep, frozenset({"vanishing"} | LOST), ("mlp6",), VANISHING, True),
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
