"""A study is written down once, checked at the door, and means the same when read back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hillock.activations import Activation
from hillock.comparison import Arm, Study
from hillock.errors import UnknownNameError, UsageError
from hillock.training.recipe import Recipe

MakeStudy = Callable[..., Study]


def test_defaults_are_those_of_the_design(make_study: MakeStudy) -> None:
    study = make_study()
    assert study.reference == "relu"
    assert study.seeds == (0, 1, 2, 3, 4, 5)
    assert study.rope == 0.002
    assert study.level == 0.95
    assert study.metric == "test_error"


def test_the_reference_is_relu_or_else_the_first(make_study: MakeStudy) -> None:
    assert make_study("gelu", "relu").reference == "relu"
    assert make_study("gelu", "mish").reference == "gelu"
    assert make_study("gelu", "relu", reference="gelu").reference == "gelu"


def test_arms_of_one_seed_differ_in_the_activation_alone(make_study: MakeStudy) -> None:
    study = make_study("relu", "leaky_relu(negative_slope=0.2)")
    first, second = (study.recipe_for(arm, 3) for arm in study.arms)
    assert first.seed == second.seed == 3
    assert second.activation_parameters == {"negative_slope": 0.2}
    assert second.replace(activation="relu", activation_parameters={}) == first


def test_an_alias_becomes_the_canonical_name() -> None:
    assert Arm.parse("rectifier").name == "relu"


def test_a_formula_is_an_arm(make_study: MakeStudy) -> None:
    study = make_study("relu", "wave=x*cos(x)")
    assert study.recipe_for(study.arm("wave"), 0).activation_formula is not None
    own = Study(arms=("relu", Activation(name="wave", formula="x*cos(x)")), recipe=study.recipe)  # type: ignore[arg-type]
    assert own.arms == study.arms


def test_toml_there_and_back(make_study: MakeStudy, tmp_path: Path) -> None:
    study = make_study("relu", "leaky_relu(negative_slope=0.2)", "wave=x*cos(x)", rope=0.01, seeds=(3, 5, 8))
    (tmp_path / "study.toml").write_text(study.to_toml())
    assert Study.load(tmp_path) == study
    assert Study.load(tmp_path / "study.toml").digest == study.digest


def test_the_digest_covers_everything_but_the_seeds(make_study: MakeStudy) -> None:
    study = make_study()
    assert make_study(seeds=12).digest == study.digest
    others = [
        make_study(rope=0.01),
        make_study(metric="test_loss"),
        make_study(level=0.99),
        make_study("relu", "gelu"),
        make_study(recipe=Recipe(data="digits", network="mlp2", epochs=4)),
    ]
    assert len({study.digest, *(other.digest for other in others)}) == 6


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"arms": ("relu",)}, "at least two arms"),
        ({"arms": ("relu", "relu")}, "each arm once, got relu 2 times"),
        ({"arms": ("relu", "rectifier", "gelu")}, "each arm once, got relu 2 times"),
        ({"arms": "relu,gelu"}, "a list of activations"),
        ({"arms": ("relu", "gelo")}, "the name of an activation, got 'gelo'; try 'gelu'"),
        ({"arms": ("relu", "leaky_relu(slope=0.1)")}, "negative_slope"),
        ({"arms": ("relu", "leaky_relu(negative_slope=x)")}, "NAME=NUMBER"),
        ({"arms": ("relu", "1+1")}, "an activation, got '1+1'"),
        ({"reference": "elu"}, "the name of an arm to compare with, got 'elu'"),
        ({"seeds": 0}, "at least one seed"),
        ({"seeds": (1, 1)}, "at least one seed, and each once"),
        ({"seeds": (-1,)}, "greater than or equal to 0"),
        ({"rope": -0.1}, "greater than or equal to 0"),
        ({"level": 1.0}, "less than 1"),
        ({"metric": "accuracy"}, "test_error"),
        ({"sedes": 3}, "the name of a study setting, got 'sedes'; try 'seeds'"),
    ],
)
def test_a_wrong_design_is_refused_in_one_sentence(
    fields: dict[str, object], sentence: str, make_study: MakeStudy
) -> None:
    with pytest.raises(UsageError) as caught:
        Study(**{"arms": ("relu", "gelu"), **fields})  # type: ignore[arg-type]
    assert sentence in str(caught.value)


def test_a_change_that_no_recipe_takes_is_refused_before_anything_runs() -> None:
    arms = (Arm(name="relu", changes={"activation": "relu"}), Arm(name="bad", changes={"optimizer.rate": 1}))
    with pytest.raises(UnknownNameError, match="rate"):
        Study(arms=arms)


def test_a_study_may_compare_anything_a_recipe_can_say() -> None:
    arms = tuple(Arm(name=f"rate {rate}", changes={"optimizer.learning_rate": rate}) for rate in (0.1, 0.05))
    study = Study(arms=arms)
    assert study.reference == "rate 0.1"
    assert [study.recipe_for(arm, 0).optimizer.learning_rate for arm in study.arms] == [0.1, 0.05]


def test_a_missing_file_is_a_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the path of a study"):
        Study.load(tmp_path / "nothing.toml")
