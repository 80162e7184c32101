"""`hillock diagnose` and `hillock treat` from the outside: exit codes, output forms, errors as sentences."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hillock.cli import run
from hillock.diagnosis import Diagnosis, HealthObserver

DEEP = """
from hillock.networks import network

def deep():
    return network("mlp20", activation="sigmoid", input_channels=1, image_size=8, width=32)

def shallow():
    return network("mlp3", activation="relu", input_channels=1, image_size=8, width=32)

def nothing():
    return 3
"""


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("foreign") / "model.py"
    path.write_text(DEEP)
    return path


@pytest.fixture(scope="module")
def sick_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from hillock.training import Recipe, train

    recipe = Recipe(
        data="digits", network="mlp20", network_options={"width": 32}, activation="sigmoid", epochs=1, compile="off"
    )
    out = tmp_path_factory.mktemp("runs") / "sick"
    return train(recipe, out=out, observers=[HealthObserver(every=20)], quiet=True).folder


def test_a_network_from_a_file_is_examined(model_file: Path, capsys: Any, tmp_path: Path) -> None:
    forms = ["--sarif", str(tmp_path / "s.json"), "--junit", str(tmp_path / "j.xml")]
    assert run(["diagnose", f"{model_file}:deep", "--data", "digits", *forms]) == 1
    shown = capsys.readouterr().out
    assert "FAILURE vanishing" in shown
    assert "Try: normalisation" in shown
    assert json.loads((tmp_path / "s.json").read_text())["version"] == "2.1.0"
    assert (tmp_path / "j.xml").read_text().startswith("<?xml")
    assert run(["diagnose", f"{model_file}:shallow", "--data", "digits", "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_json_is_a_diagnosis(model_file: Path, capsys: Any) -> None:
    run(["diagnose", f"{model_file}:deep", "--data", "digits", "--json"])
    found = Diagnosis.from_dict(json.loads(capsys.readouterr().out))
    assert found.of("vanishing")


def test_fail_on_and_baseline_decide_the_exit_code(model_file: Path, capsys: Any, tmp_path: Path) -> None:
    target = [f"{model_file}:deep", "--data", "digits", "--quiet"]
    assert run(["diagnose", *target, "--fail-on", "exploding"]) == 0
    assert run(["diagnose", *target, "--fail-on", "vanishing>1000"]) == 1
    known = str(tmp_path / "known.json")
    assert run(["diagnose", *target, "--write-baseline", known]) == 0
    assert run(["diagnose", *target, "--baseline", known]) == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "expected a run folder or FILE.py:FUNCTION"),
        (["missing.py:build", "--data", "digits"], "expected a run folder or FILE.py:FUNCTION"),
        (["{file}:nobody", "--data", "digits"], "expected a function in"),
        (["{file}:nothing", "--data", "digits"], "expected a torch.nn.Module"),
        (["{file}:deep"], "expected --data for a network from a file"),
        (["{file}:deep", "--data", "digits", "--stage", "early"], "expected a stage"),
        (["--explain", "vanish"], "try 'vanishing'"),
        (["--show", "zigzag"], "try 'zig-zag'"),
    ],
)
def test_wrong_values_get_one_sentence(model_file: Path, capsys: Any, words: list[str], sentence: str) -> None:
    assert run(["diagnose", *(word.format(file=model_file) for word in words)]) == 2
    assert sentence in capsys.readouterr().err


def test_explain_and_show_need_no_target(capsys: Any) -> None:
    assert run(["diagnose", "--explain", "vanishing"]) == 0
    assert "Hochreiter 1991" in capsys.readouterr().out
    assert run(["diagnose", "--show", "list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 7
    assert run(["diagnose", "--show", "saturation", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["holds"] is True


def test_a_run_is_examined_and_followed(sick_run: Path, capsys: Any) -> None:
    assert run(["diagnose", str(sick_run), "--watch"]) == 1
    assert "vanishing" in capsys.readouterr().out


def test_a_checkpoint_is_examined_as_its_run(sick_run: Path, capsys: Any) -> None:
    assert run(["diagnose", str(sick_run / "checkpoint.pt"), "--json"]) == 1
    found = Diagnosis.from_dict(json.loads(capsys.readouterr().out))
    assert found.of("vanishing")
    assert found.facts["loss"] == pytest.approx(diagnosed_loss(sick_run, capsys))
    assert run(["diagnose", str(sick_run / "recipe.toml")]) == 2
    assert "expected a run's checkpoint.pt" in capsys.readouterr().err


def diagnosed_loss(target: Path, capsys: Any) -> float:
    run(["diagnose", str(target / "weights.safetensors"), "--json"])
    loss: float = json.loads(capsys.readouterr().out)["facts"]["loss"]
    return loss


def test_treat_finds_what_helps_the_run_and_writes_the_recipe(sick_run: Path, capsys: Any, tmp_path: Path) -> None:
    from hillock.training import Recipe

    out = tmp_path / "better.toml"
    assert run(["treat", str(sick_run), "--steps", "60", "--seeds", "3", "--out", str(out), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["chosen"] in {effect["name"] for effect in answer["effects"] if effect["helps"]}
    better = Recipe.load(out)
    assert better.activation != "sigmoid" or better.network_options.get("normalisation") == "batch"


@pytest.mark.parametrize(("answer", "sentence"), [("[:, :2]", "class scores"), (".sum()", "class scores")])
def test_an_output_that_is_no_score_of_the_classes_is_a_sentence(
    answer: str, sentence: str, tmp_path: Path, capsys: Any
) -> None:
    (tmp_path / "odd.py").write_text(
        "from torch import nn\n\nclass Odd(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.layer = nn.Linear(64, 10)\n\n"
        f"    def forward(self, x):\n        return self.layer(x.flatten(1)){answer}\n"
    )
    assert run(["diagnose", f"{tmp_path / 'odd.py'}:Odd", "--data", "digits", "--samples", "64"]) == 2
    assert sentence in capsys.readouterr().err


def test_weights_that_are_not_whole_are_a_sentence(sick_run: Path, tmp_path: Path, capsys: Any) -> None:
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(sick_run, broken)
    (broken / "weights.safetensors").write_bytes(b"")
    assert run(["diagnose", str(broken)]) == 2
    assert "safetensors file that is whole" in capsys.readouterr().err
