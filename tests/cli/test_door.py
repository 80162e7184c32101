"""What all verbs share: names split and made into objects, recipes put together from options."""

from __future__ import annotations

from pathlib import Path

import pytest

from hillock.cli import door
from hillock.errors import UnknownNameError, UsageError


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("relu", ["relu"]),
        (" relu , gelu,", ["relu", "gelu"]),
        ("prelu(init=0.1),mine=max(0, x)", ["prelu(init=0.1)", "mine=max(0, x)"]),
        ("", []),
    ],
)
def test_names_are_split_at_the_outer_commas(text: str, parts: list[str]) -> None:
    assert door.split_names(text) == parts


def test_a_name_becomes_an_activation() -> None:
    assert door.activation("rectifier").name == "relu"
    with pytest.raises(UnknownNameError, match="'gelu'"):
        door.activation("gelo")


def test_a_recipe_takes_what_was_given_and_keeps_the_rest(tmp_path: Path) -> None:
    made = door.recipe(None, defaults={"epochs": 7, "network": "mlp2"}, network="resnet8", seed=None)
    assert (made.epochs, made.network, made.seed) == (7, "resnet8", 0)
    path = tmp_path / "recipe.toml"
    path.write_text(made.to_toml())
    again = door.recipe(str(path), defaults={"epochs": 99}, **{"optimizer.learning_rate": 0.03})
    assert (again.epochs, again.network, again.optimizer.learning_rate) == (7, "resnet8", 0.03)


def test_a_wrong_setting_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="epochs"):
        door.recipe(None, epochs=0)
    with pytest.raises(UnknownNameError, match="recipe"):
        door.recipe("resnet-cifar-2051")
