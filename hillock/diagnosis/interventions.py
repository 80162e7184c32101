"""What can be changed about a training that does not learn: one change each, small and reversible.

A `Plan` is everything a short training needs; an `Intervention` maps a plan to a changed one, or to None where it makes
no sense (no residual path for a perceptron). Where a recipe can say the same, the intervention changes the recipe too.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from hillock.errors import UnknownNameError

if TYPE_CHECKING:
    from hillock.diagnosis.finding import Finding
    from hillock.training import Recipe

__all__ = ["INTERVENTIONS", "Intervention", "Plan", "find", "proposed"]


@dataclasses.dataclass(frozen=True)
class Plan:
    """A training, ready to be run for a few steps with any seed.

    **Arguments**

    - `build`: maps a seed to a freshly drawn network. `activation`: name of its activation, for gain and draw.
    - `rate`, `momentum`, `kind` (`sgd` or `adamw`), `weight_decay`: of the optimiser. `clip`: gradient norm limit.
    - `recipe`: the same training as a recipe, None where no recipe can say it.
    - `changes`: names of the interventions made so far.
    """

    build: Callable[[int], nn.Module]
    rate: float
    activation: str = "relu"
    momentum: float = 0.9
    kind: str = "sgd"
    weight_decay: float = 0.0
    clip: float | None = None
    recipe: Recipe | None = None
    changes: tuple[str, ...] = ()

    def changed(self, name: str, *, edit: Callable[[nn.Module, int], nn.Module] | None = None, **fields: Any) -> Plan:
        """Return this plan with fields replaced, and the built network passed through `edit(network, seed)`."""
        if edit is not None:
            inner, change = self.build, edit
            fields["build"] = lambda seed: change(inner(seed), seed)
        return dataclasses.replace(self, changes=(*self.changes, name), **fields)


@dataclasses.dataclass(frozen=True)
class Intervention:
    """One change: its name, what it does in words, and the function that makes it (None where it does not apply)."""

    name: str
    what: str
    apply: Callable[[Plan], Plan | None]

    @property
    def part(self) -> str:
        """What it changes: two of the same part cannot be made at once.

        >>> find("rate/3").part, find("activation=elu").part, find("gain").part
        ('rate', 'activation', 'gain')
        """
        return re.split(r"[/*=+]", self.name)[0]


def _rate(name: str, factor: float) -> Intervention:
    def apply(plan: Plan) -> Plan | None:
        recipe = plan.recipe
        if recipe is not None:
            recipe = recipe.replace(**{"optimizer.learning_rate": recipe.optimizer.learning_rate * factor})
        return plan.changed(name, rate=plan.rate * factor, recipe=recipe)

    return Intervention(name, f"learning rate times {factor:.3g}", apply)


def _clipping(plan: Plan) -> Plan | None:
    if plan.clip is not None:
        return None
    recipe = None if plan.recipe is None else plan.recipe.replace(clip_norm=1.0)
    return plan.changed("clipping", clip=1.0, recipe=recipe)


def _gain(plan: Plan) -> Plan | None:
    """Draw all weights anew with variance gain²/fan-in, the gain made for the activation; biases 0."""

    def edit(network: nn.Module, seed: int) -> nn.Module:
        from hillock.layers.initialisation import initialise

        initialise(network, "he", activation=plan.activation, seed=seed)
        return network

    recipe = None if plan.recipe is None else plan.recipe.replace(initialisation="he")
    return plan.changed("gain", edit=edit, recipe=recipe)


def _biases(name: str, value: float) -> Intervention:
    def edit(network: nn.Module, seed: int) -> nn.Module:
        with torch.no_grad():
            for module in network.modules():
                bias = getattr(module, "bias", None)
                if isinstance(bias, nn.Parameter):
                    bias.fill_(value)
        return network

    return Intervention(name, f"all biases start at {value:g}", lambda plan: plan.changed(name, edit=edit, recipe=None))


def _normalisation(plan: Plan) -> Plan | None:
    """Put a batch norm after every hidden layer that has none."""
    recipe = plan.recipe
    if recipe is not None:
        plain = recipe.network.startswith("mlp") and recipe.network_options.get("normalisation") != "batch"
        options: Any = {**recipe.network_options, "normalisation": "batch"}
        recipe = recipe.replace(network_options=options) if plain else None
    return plan.changed("normalisation", edit=lambda network, seed: normalised(network), recipe=recipe)


def normalised(network: nn.Module) -> nn.Module:
    """Put a batch norm where a sequence has a linear or convolution layer and none: see `_place`."""
    for parent in list(network.modules()):
        if not isinstance(parent, nn.Sequential):
            continue
        slots = cast("dict[str, nn.Module | None]", parent._modules)  # a slot may be empty, which torch leaves untyped
        for before, after in itertools.pairwise(list(slots)):
            layer, follower = slots[before], slots[after]
            if isinstance(layer, nn.Linear):
                norm: nn.Module = nn.BatchNorm1d(layer.out_features)
            elif isinstance(layer, nn.Conv2d):
                norm = nn.BatchNorm2d(layer.out_channels)
            else:
                continue
            slots[after] = _place(norm, after, follower)
    return network


def _place(norm: nn.Module, name: str, follower: nn.Module | None) -> nn.Module | None:
    """What to put in place of the module that follows a layer: the norm in an empty slot for one, or before an
    activation; anything else (a norm, a pooling) stays as it is.
    """
    from hillock.layers.recognise import recognise

    if isinstance(follower, nn.Identity) and name.startswith("norm"):
        return norm
    if follower is None or recognise(follower) is None:
        return follower
    return nn.Sequential(norm, follower)


def _residual(plan: Plan) -> Plan | None:
    """The residual twin of a plain network; only a recipe knows it."""
    recipe = plan.recipe
    if recipe is None or not re.fullmatch(r"plain\d+", recipe.network):
        return None
    twin = recipe.replace(network=recipe.network.replace("plain", "resnet"))
    from hillock.diagnosis.treat import recipe_builder

    return plan.changed("residual", build=recipe_builder(twin), recipe=twin)


def _activation(name: str) -> Intervention:
    label = f"activation={name}"

    def apply(plan: Plan) -> Plan | None:
        if plan.activation == name:
            return None

        def edit(network: nn.Module, seed: int) -> nn.Module:
            from hillock.layers.initialisation import initialise
            from hillock.layers.replace import replace_activations

            replace_activations(network, {plan.activation: name})
            initialise(network, "he", activation=name, seed=seed)
            return network

        recipe = plan.recipe
        if recipe is not None:
            recipe = recipe.replace(activation=name, activation_parameters={}, initialisation="he")
        return plan.changed(label, edit=edit, activation=name, recipe=recipe)

    return Intervention(label, f"{name} in place of the activation, weights drawn for it", apply)


INTERVENTIONS: tuple[Intervention, ...] = (
    _rate("rate/3", 1 / 3),
    _rate("rate/10", 1 / 10),
    _rate("rate/100", 1 / 100),
    _rate("rate*10", 10.0),
    _rate("rate*100", 100.0),
    _rate("rate*1000", 1000.0),
    Intervention("gain", "weights drawn anew with the gain made for the activation", _gain),
    Intervention("normalisation", "a batch norm after every hidden layer that has none", _normalisation),
    Intervention("residual", "the residual twin of the plain network", _residual),
    _activation("relu"),
    _activation("leaky_relu"),
    _activation("elu"),
    Intervention("clipping", "gradients longer than 1 are shortened to 1", _clipping),
    _biases("bias=0", 0.0),
    _biases("bias+0.1", 0.1),
)
# A remedy's name stands for all strengths of it: how much is needed is for the test to say.
_STRENGTHS = {
    "rate/3": ("rate/3", "rate/10", "rate/100"),
    "rate*10": ("rate*10", "rate*100", "rate*1000"),
    "bias+0.1": ("bias+0.1", "bias=0"),
}


def find(name: str) -> Intervention:
    """Return one intervention; an unknown name lists the near misses."""
    known = {intervention.name: intervention for intervention in INTERVENTIONS}
    if name not in known:
        raise UnknownNameError("intervention", name, known)
    return known[name]


def proposed(findings: Iterable[Finding]) -> tuple[Intervention, ...]:
    """Return what the findings propose, worst finding first: up to three remedies each, in all their strengths."""
    known = {intervention.name: intervention for intervention in INTERVENTIONS}
    chosen: dict[str, Intervention] = {}
    for finding in findings:
        if finding.severity == "note":
            continue
        usable = [remedy for remedy in finding.remedies if remedy in known][:3]
        for remedy in usable:
            for name in _STRENGTHS.get(remedy, (remedy,)):
                chosen.setdefault(name, known[name])
    return tuple(chosen.values())
