"""`hillock train`, `lr` and `runs`: flags become a recipe, errors a sentence, results can be read by machines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hillock.cli import run
from hillock.cli.train import recipe_from
from hillock.errors import UsageError
from hillock.training import Recipe

SMALL = [
    "--data",
    "digits",
    "--network",
    "mlp",
    "--epochs",
    "1",
    "--set",
    "limit=240",
    "--batch-size",
    "32",
    "--health",
    "0",
]
SMALL += ["--allocator", "system"]


def test_flags_become_a_recipe() -> None:
    given = {"activation": "gelu", "optimizer.learning_rate": 0.05}
    recipe = recipe_from(None, 7, given, ["schedule.kind=linear", "label_smoothing=0.1", "network_options.width=16"])
    assert (recipe.activation, recipe.optimizer.learning_rate, recipe.epochs) == ("gelu", 0.05, 7)
    assert (recipe.schedule.kind, recipe.label_smoothing, recipe.network_options) == ("linear", 0.1, {"width": 16})
    assert recipe.retries == 2


def test_a_paper_recipe_is_shortened_in_proportion() -> None:
    recipe = recipe_from("resnet-cifar-2015", 82, {"activation": None}, [])
    assert (recipe.steps, recipe.schedule.milestones, recipe.retries) == (32_000, (16_000, 24_000), 0)


def test_a_setting_without_a_value_is_refused() -> None:
    with pytest.raises(UsageError, match=r"--set NAME=VALUE, got 'seed'"):
        recipe_from(None, None, {}, ["seed"])


def test_training_prints_where_and_how_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tmp_path / "run")
    assert run(["train", *SMALL, "--out", folder]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(f"{folder}: test error ")
    assert "float32 (the network is too small for bfloat16 to gain)" in printed.err
    assert run(["train", *SMALL, "--out", folder, "--resume", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["final"]["epoch"] == 1
    assert "mlp with relu on digits" in Path(result["report"]).read_text()
    assert run(["train", *SMALL, "--out", folder]) == 2
    assert "--resume or --overwrite" in capsys.readouterr().err


def test_health_is_watched_on_the_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*SMALL, "--health", "3", "--quiet", "--out", str(tmp_path / "run")]
    assert run(["train", *words]) == 0
    assert (tmp_path / "run" / "health.jsonl").read_text().count("\n") >= 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--network", "resnet7"], "expected"),
        (["--set", "epoch=3"], "try 'epochs'"),
        (["--recipe", "resnet-cifar"], "resnet-cifar-2015"),
        (["--learning-rate", "-1"], "learning_rate to be greater than 0, got -1"),
        (["--device", "gpu"], "try --device cpu"),
        (["--data", "no/such/folder"], "no/such/folder"),
    ],
)
def test_a_wrong_value_gets_one_sentence_and_code_2(
    words: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["train", *SMALL, *words, "--out", str(tmp_path / "run")]) == 2
    printed = capsys.readouterr().err
    assert sentence in printed
    assert "Traceback" not in printed
    assert len(printed.strip().splitlines()) <= 2
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for activation in ("relu", "tanh"):
        words = [*SMALL, "--activation", activation, "--quiet", "--out", str(folder / activation)]
        assert run(["train", *words]) == 0
    return folder


def test_runs_are_listed(two_runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["runs", "list", "--in", str(two_runs), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["activation"], row["state"], row["epoch"]) for row in rows] == [
        ("relu", "finished", 1),
        ("tanh", "finished", 1),
    ]
    assert run(["runs", "list", "--in", str(two_runs)]) == 0
    assert "tanh" in capsys.readouterr().out


def test_runs_are_compared(two_runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["runs", "compare", str(two_runs / "relu"), str(two_runs / "tanh"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["settings"] == {"activation": ["relu", "tanh"]}
    assert set(result["final"]) >= {"test_loss", "test_error"}


def test_a_run_is_followed_to_its_end(two_runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["runs", "tail", str(two_runs / "relu")]) == 0
    assert capsys.readouterr().out.startswith("epoch 1/1  training loss ")
    assert run(["runs", "tail", str(two_runs)]) == 2


def test_a_rate_is_suggested(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--data", "digits", "--network", "mlp", "--seeds", "2", "--steps", "30"]
    assert run(["lr", *words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["interval"][0] <= result["suggestion"] <= result["interval"][1]
    assert run(["lr", *words, "--quiet"]) == 0
    assert "95 % interval" in capsys.readouterr().out


def test_tensorboard_files_hold_the_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tensorboard")
    assert run(["train", *SMALL, "--tensorboard", "--quiet", "--out", str(tmp_path / "run")]) == 0
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    record = json.loads((tmp_path / "run" / "record.jsonl").read_text())
    (written,) = events.Scalars("evaluation/test_error")
    assert written.value == pytest.approx(record["test_error"])
    assert written.step == record["step"]


def test_the_recipe_in_the_folder_is_the_one_trained(two_runs: Path) -> None:
    assert Recipe.load(two_runs / "tanh").activation == "tanh"
