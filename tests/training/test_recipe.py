"""Recipes: TOML there and back, changes, and one sentence for what cannot be used."""

from __future__ import annotations

import math
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hillock.activations import Activation
from hillock.data import Augmentation
from hillock.errors import UnknownNameError, UsageError
from hillock.training import OptimizerSettings, Recipe, ScheduleSettings
from hillock.training.toml_text import toml_text

plain = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=("Cs",)))
)
names = st.text("ab é.\"'", min_size=1)
lists = st.recursive(st.lists(plain, max_size=3), lambda inner: st.lists(inner, max_size=3), max_leaves=5)
tables = st.recursive(
    st.dictionaries(names, plain | lists, max_size=3),
    lambda inner: st.dictionaries(names, plain | lists | inner | st.lists(inner, min_size=1, max_size=2), max_size=3),
    max_leaves=6,
)


@given(tables)
def test_what_is_written_reads_back_equal(table: dict[str, Any]) -> None:
    assert tomllib.loads(toml_text(table)) == table


def test_nan_and_infinities_read_back() -> None:
    read = tomllib.loads(toml_text({"a": math.nan, "b": math.inf, "c": -math.inf}))
    assert math.isnan(read["a"])
    assert (read["b"], read["c"]) == (math.inf, -math.inf)


RECIPES = [
    Recipe(),
    Recipe(name='odd "name"\n', data="a\\b", network="mlp", network_options={"depth": 20, "normalisation": "batch"}),
    Recipe(augmentation=Augmentation(crop_padding=4, flip="random", scale_jitter=None), validation_share=0.1),
    Recipe(schedule=ScheduleSettings(kind="steps", milestones=(3, 7), unit="steps", warmup_steps=0), steps=11),
    Recipe(optimizer=OptimizerSettings(kind="adamw", learning_rate=1e-05, betas=(0.8, 0.95), groups=())),
    Recipe(ema_decay=0.999, clip_norm=1.0, early_stopping=3, activation_parameters={"alpha": 0.5}),
]


@pytest.mark.parametrize("recipe", RECIPES, ids=range(len(RECIPES)))
def test_a_recipe_survives_its_file(recipe: Recipe, tmp_path: Any) -> None:
    (tmp_path / "recipe.toml").write_text(recipe.to_toml())
    assert Recipe.load(tmp_path / "recipe.toml") == recipe
    assert Recipe.load(tmp_path) == recipe


def test_replace_reaches_inside_and_leaves_the_rest() -> None:
    recipe = RECIPES[3].replace(
        **{"schedule.milestones": (5,), "seed": 3, "augmentation.cutout": 4} | {"augmentation": "none"}
    )
    assert recipe.schedule.milestones == (5,)
    assert recipe.schedule.unit == "steps"
    assert recipe.seed == 3
    assert RECIPES[3].seed == 0


def test_a_dotted_change_of_automatic_augmentation_starts_from_none() -> None:
    assert Recipe().replace(**{"augmentation.cutout": 4}).augmentation == Augmentation(cutout=4)


def test_shortening_keeps_the_shape() -> None:
    paper = Recipe(
        epochs=164, steps=64_000, schedule=ScheduleSettings(kind="steps", milestones=(32_000, 48_000), unit="steps")
    )
    short = paper.shortened(82)
    assert (short.epochs, short.steps, short.schedule.milestones) == (82, 32_000, (16_000, 24_000))


def test_an_activation_of_ones_own_is_kept_by_its_formula() -> None:
    recipe = Recipe(activation=Activation(name="mine", formula="x*sin(x)"))  # type: ignore[arg-type]
    assert recipe.activation == "mine"
    assert recipe.activation_formula is not None
    assert Recipe(**tomllib.loads(recipe.to_toml())) == recipe


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"epochs": 0}, "epochs .*greater than or equal to 1.*got 0"),
        ({"optimizer": {"learning_rate": -0.1}}, r"learning_rate .*greater than 0.*got -0\.1"),
        ({"optimizer": {"kind": "sdg"}}, "kind .*'sgd'.*got 'sdg'"),
        ({"epoch": 3}, "recipe setting, got 'epoch'; try 'epochs'"),
        ({"optimizer": {"groups": [{"match": "bias"}]}}, "match = biases.*got 'bias'"),
        ({"schedule": {"kind": "steps", "milestones": [5, 3]}}, "rising order"),
        ({"schedule": {"warmup_until_error": 0.8}}, "warmup_factor"),
    ],
)
def test_a_wrong_value_gets_one_sentence(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        Recipe(**settings)


def test_an_unknown_recipe_names_those_there_are() -> None:
    with pytest.raises(UnknownNameError, match=r"try .resnet-cifar-2015"):
        Recipe.load("resnet-cifar")


def test_a_broken_file_is_named(tmp_path: Any) -> None:
    (tmp_path / "bad.toml").write_text("epochs = = 3")
    with pytest.raises(UsageError, match=r"valid TOML in .*bad\.toml"):
        Recipe.load(tmp_path / "bad.toml")
