"""Healthy ways to train: other batch sizes, rates, optimisers, depths, widths, normalisations and data.

A rule that fires on one of these is wrong, whatever it says. Each variant is tried on the networks it makes sense for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from setting import CLASSES, Setting, digits, photographs, photographs_folder

from hillock.networks import network


@dataclasses.dataclass(frozen=True)
class Variant:
    """One healthy way to train."""

    name: str
    change: Callable[[Setting], None]
    networks: tuple[str, ...]


def rebuilt(setting: Setting, name: str, **options: Any) -> None:
    """Replace the network by another one of the same activation and seed."""
    options = {"input_channels": 1, "image_size": 8, "num_classes": CLASSES, **options}
    setting.model = network(name, activation=setting.case.activation, seed=setting.case.seed, **options)


def changed(**fields: Any) -> Callable[[Setting], None]:
    """Set fields of the setting; `rate` is a factor."""

    def change(setting: Setting) -> None:
        for name, value in fields.items():
            setattr(setting, name, setting.rate * value if name == "rate" else value)

    return change


def adamw(setting: Setting) -> None:
    setting.optimizer, setting.rate, setting.weight_decay = "adamw", 2e-3, 0.01


def deep(setting: Setting) -> None:
    """Twice as deep and more."""
    name = {"mlp6": "mlp12", "plain8": "plain14", "resnet8": "resnet20"}[setting.case.network]
    rebuilt(setting, name, width=48 if name == "mlp12" else 6)
    setting.steps = 120
    setting.rate *= 0.4 if name == "mlp12" else 1.0


def shallow(setting: Setting) -> None:
    rebuilt(setting, "mlp3", width=64)


def wide(setting: Setting) -> None:
    name = setting.case.network
    rebuilt(setting, name, width=192 if name == "mlp6" else 24)


def normalised(setting: Setting) -> None:
    rebuilt(setting, "mlp6", width=48, normalisation="batch")


def preactivated(setting: Setting) -> None:
    rebuilt(setting, "preresnet20", width=6)


def unit_range(setting: Setting) -> None:
    """Pixels from 0 to 1, as many leave them."""
    setting.inputs = digits()[2]
    setting.steps = 120


def two_classes(setting: Setting) -> None:
    """Odd or even."""
    name = setting.case.network
    rebuilt(setting, name, num_classes=2, width=48 if name == "mlp6" else 8)
    setting.targets = setting.targets % 2
    setting.learned = 0.7


def pictured(setting: Setting) -> None:
    """Photographs of ten kinds of things; after so few steps about a third is right."""
    rebuilt(setting, setting.case.network, input_channels=3, image_size=16, width=12)
    setting.inputs, setting.targets = photographs()
    setting.trained_on, setting.steps, setting.learned = 3072, 150, 0.25


ALL = ("mlp6", "plain8", "resnet8")
VARIANTS: tuple[Variant, ...] = (
    Variant("batch16", changed(batch=16, rate=0.4, steps=120), ALL),
    Variant("batch256", changed(batch=256), ALL),
    Variant("rate_third", changed(rate=1 / 3, steps=120), ALL),
    Variant("rate_double", changed(rate=2.0), ALL),
    Variant("adamw", adamw, ALL),
    Variant("weight_decay", changed(weight_decay=1e-3, steps=120), ("mlp6", "resnet8")),
    Variant("long_cosine", changed(steps=300, cosine=True), ALL),
    Variant("deep", deep, ALL),
    Variant("shallow", shallow, ("mlp6",)),
    Variant("wide", wide, ("mlp6", "resnet8")),
    Variant("normalised", normalised, ("mlp6",)),
    Variant("preactivated", preactivated, ("resnet8",)),
    Variant("unit_range", unit_range, ("mlp6", "plain8")),
    Variant("two_classes", two_classes, ("mlp6", "resnet8")),
    Variant("photographs", pictured, ("resnet8",)),
)


def variants() -> dict[str, Variant]:
    """The variants that can be run here, by name."""
    here = photographs_folder() is not None
    return {variant.name: variant for variant in VARIANTS if variant.name != "photographs" or here}
