"""Every shipped recipe against what its paper says, field by field; the numbers were read from the papers."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hillock.networks import network
from hillock.training import Recipe, recipe_names
from hillock.training.optimisers import build_optimizer
from hillock.training.schedule import ScheduleState, rate_factor

CIFAR_AUGMENTATION = {
    "augmentation.crop_padding": 4,  # "4 pixels are padded on each side, and a 32x32 crop is sampled"
    "augmentation.flip": "random",
    "augmentation.mean": "pixel",  # "per-pixel mean subtracted"
    "augmentation.lighting": "none",
}
CIFAR_2015 = CIFAR_AUGMENTATION | {
    "steps": 64_000,
    "batch_size": 128,
    "optimizer.kind": "sgd",
    "optimizer.learning_rate": 0.1,
    "optimizer.momentum": 0.9,
    "optimizer.nesterov": False,
    "optimizer.weight_decay": 1e-4,
    "schedule.kind": "steps",
    "schedule.milestones": (32_000, 48_000),
    "schedule.unit": "steps",
    "schedule.drop": 0.1,
    "label_smoothing": 0.0,
}
PAPERS: dict[str, dict[str, Any]] = {
    # NIPS 2012, sections 3 to 5; biases from the authors' layer files.
    "alexnet-2012": {
        "network": "alexnet",
        "activation": "relu",
        "image_size": 227,
        "batch_size": 128,
        "epochs": 90,
        "initialisation": None,  # the network's own: N(0, 0.01), biases 1 where the paper has them
        "optimizer.learning_rate": 0.01,
        "optimizer.momentum": 0.9,
        "optimizer.momentum_form": "caffe",
        "optimizer.nesterov": False,
        "optimizer.weight_decay": 5e-4,
        "schedule.kind": "plateau",
        "schedule.drop": 0.1,
        "schedule.max_drops": 3,
        "augmentation.short_side": 256,
        "augmentation.crop": "random",
        "augmentation.flip": "random",
        "augmentation.lighting": "paper",
        "augmentation.lighting_strength": 0.1,
        "augmentation.mean": "pixel",
        "augmentation.crop_group": 1,
    },
    # arXiv:1512.03385, section 4.2
    "resnet-cifar-2015": CIFAR_2015
    | {"network": "resnet20", "schedule.warmup_steps": 0, "schedule.warmup_factor": None},
    "resnet110-cifar-2015": CIFAR_2015
    | {"network": "resnet110", "schedule.warmup_factor": 0.1, "schedule.warmup_until_error": 0.8},
    # arXiv:1512.03385, section 3.4, and the authors' solver
    "resnet-imagenet-2015": {
        "network": "resnet50",
        "image_size": 224,
        "batch_size": 256,
        "steps": 600_000,
        "recompute_batch_norm": True,
        "optimizer.learning_rate": 0.1,
        "optimizer.momentum": 0.9,
        "optimizer.momentum_form": "caffe",
        "optimizer.weight_decay": 1e-4,
        "schedule.kind": "plateau",
        "schedule.drop": 0.1,
        "augmentation.scale_jitter": (256, 480),
        "augmentation.flip": "random",
        "augmentation.lighting": "paper",
        "augmentation.mean": "pixel",
    },
    # arXiv:1603.05027: as 2015, with 400 steps at 0.01, and initial weights by the fan-out (the authors' Lua)
    "preresnet-2016": CIFAR_2015
    | {
        "network": "preresnet164",
        "initialisation": "he_out",
        "schedule.warmup_steps": 400,
        "schedule.warmup_factor": 0.1,
    },
    # arXiv:1612.08083
    "gcnn-2016": {
        "network": "gcnn8",
        "activation": "sigmoid",
        "clip_norm": 0.1,
        "optimizer.momentum": 0.99,
        "optimizer.nesterov": True,
        "optimizer.learning_rate": 1.0,  # drawn from 1 to 2
        "text.least_count": 3,  # the vocabulary of WikiText-103
    },
    # arXiv:1706.02515
    "selu-2017": {"network": "selu8", "activation": "selu", "initialisation": "lecun", "optimizer.momentum": 0.0},
    # arXiv:2404.00498 and the Muon version of its code
    "fast-cifar": {
        "network": "fast_cifar",
        "activation": "gelu",
        "label_smoothing": 0.2,
        "views": "multi_view",
        "optimizer.kind": "muon",
        "optimizer.fixed_norm": True,
        "schedule.kind": "linear",
        "schedule.warmup_share": 0.0,
        "augmentation.crop_padding": 2,
        "augmentation.padding_fill": "reflect",
        "augmentation.flip": "alternating",
    },
    "finetune": {"optimizer.nesterov": True},
}


def value(recipe: Recipe, name: str) -> Any:
    found: Any = recipe
    for part in name.split("."):
        found = getattr(found, part)
    return found


def test_every_shipped_recipe_is_checked() -> None:
    assert set(PAPERS) == set(recipe_names())


@pytest.mark.parametrize("name", sorted(PAPERS))
def test_a_recipe_says_what_its_paper_says(name: str) -> None:
    recipe = Recipe.load(name)
    assert recipe.name == name
    assert {field: value(recipe, field) for field in PAPERS[name]} == PAPERS[name]


@pytest.mark.parametrize("name", sorted(PAPERS))
def test_a_recipe_says_where_it_comes_from(name: str) -> None:
    about = Recipe.load(name).about
    assert about is not None
    assert "arXiv" in about.source or "NIPS" in about.source
    assert about.expected
    assert about.departures


@pytest.mark.parametrize("name", sorted(set(PAPERS) - {"gcnn-2016"}))
def test_the_network_of_a_recipe_exists_and_takes_a_step(name: str) -> None:
    recipe = Recipe.load(name)
    small = {"network_options": {"width": 0.05}} if recipe.network == "alexnet" else {}
    if recipe.network.startswith(("resnet1", "preresnet")) and recipe.network != "resnet18":
        small = {"network_options": {"width": 2}}
    recipe = recipe.replace(**small)
    size = 227 if recipe.network == "alexnet" else 32
    model = network(
        recipe.network,
        activation=recipe.activation,
        image_size=size,
        initialisation=recipe.initialisation,
        **recipe.network_options,
    )
    optimizer = build_optimizer(model, recipe.optimizer)
    model(torch.zeros(2, 3, size, size)).sum().backward()
    optimizer.step()


def test_alexnets_biases_learn_at_twice_the_rate_without_decay() -> None:
    model = network("alexnet", width=0.05)
    groups = {
        group["match"]: group for group in build_optimizer(model, Recipe.load("alexnet-2012").optimizer).param_groups
    }
    assert len(groups["biases"]["params"]) == 8
    assert (groups["biases"]["rate_scale"], groups["biases"]["weight_decay"]) == (2.0, 0.0)
    assert groups["name:"]["weight_decay"] == 5e-4


def test_fine_tuning_teaches_the_head_fastest_and_the_stem_least() -> None:
    for name, width in (("resnet18", 2), ("alexnet", 0.05)):
        optimizer = build_optimizer(network(name, width=width), Recipe.load("finetune").optimizer)
        counts = {group["rate_scale"]: len(group["params"]) for group in optimizer.param_groups}
        assert counts[1.0] == 2
        assert counts[0.1] == {"resnet18": 3, "alexnet": 2}[name]
        assert counts[0.333] > 5


@pytest.mark.parametrize(
    ("step", "rate"),
    [(0, 0.01), (399, 0.01), (400, 0.1), (31_999, 0.1), (32_000, 0.01), (48_000, 0.001), (63_999, 0.001)],
)
def test_the_rate_of_preresnet_over_the_run(step: int, rate: float) -> None:
    recipe = Recipe.load("preresnet-2016")
    factor = rate_factor(recipe.schedule, step, total_steps=64_000, steps_per_epoch=390)
    assert factor * recipe.optimizer.learning_rate == pytest.approx(rate)


def test_the_warm_up_of_110_layers_ends_when_it_learns() -> None:
    schedule = Recipe.load("resnet110-cifar-2015").schedule
    options = {"total_steps": 64_000, "steps_per_epoch": 390}
    assert rate_factor(schedule, 400, **options) == 0.1  # type: ignore[arg-type]
    assert rate_factor(schedule, 400, **options, state=ScheduleState(warmup_ended=400)) == 1.0  # type: ignore[arg-type]


def test_a_shortened_paper_recipe_keeps_its_proportions() -> None:
    short = Recipe.load("resnet-cifar-2015").shortened(30)
    assert short.steps == round(64_000 * 30 / 164)
    assert short.schedule.milestones == (5_854, 8_780)
