"""`hillock compare`, with real trainings of a small perceptron on the scanned digits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hillock import cli
from hillock.comparison import Comparison, Study

SMALL = ["compare", "--data", "digits", "--network", "mlp2", "--epochs", "1", "--seeds", "2", "--workers", "0"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two activations, made once."""
    folder = tmp_path_factory.mktemp("compare") / "study"
    assert cli.run([*SMALL, "--activations", "relu,sigmoid", "--out", str(folder), "--quiet"]) == 0
    return folder


def test_the_folder_holds_design_runs_numbers_and_page(finished: Path) -> None:
    names = {path.name for path in finished.iterdir()}
    assert {"study.toml", "runs", "comparison.json", "report.html"} <= names
    run = finished / "runs" / "relu" / "seed-0"
    assert {"recipe.toml", "record.jsonl", "weights.safetensors"} <= {path.name for path in run.iterdir()}
    comparison = Comparison.load(finished)
    assert all(outcome.health is not None for outcome in comparison.outcomes), "every network is examined"
    assert all(outcome.correct is not None for outcome in comparison.outcomes)
    assert comparison.arm("relu").mean < 0.5, "it learned"
    assert comparison.arm("sigmoid").sampling_error is not None


def test_worker_processes_give_the_same_numbers(finished: Path, tmp_path: Path) -> None:
    """Where a run is made decides nothing: the same scores, the same pictures right, to the last digit."""
    words = [*SMALL, "--workers", "2", "--activations", "relu,sigmoid", "--out", str(tmp_path / "crew"), "--quiet"]
    assert cli.run(words) == 0
    here, there = Comparison.load(finished).outcomes, Comparison.load(tmp_path / "crew").outcomes
    assert [(o.arm, o.seed, o.scores, o.correct) for o in here] == [(o.arm, o.seed, o.scores, o.correct) for o in there]
    assert not list((tmp_path / "crew").rglob("checkpoint*.pt")), "finished runs keep no checkpoints"


def test_seeds_are_paired(finished: Path) -> None:
    """The same draws where shapes allow: the two networks of a seed differ by activation and scale alone."""
    import torch

    from hillock.training.run import build_network

    comparison = Comparison.load(finished)
    facts = json.loads((finished / "runs" / "relu" / "seed-0" / "data.json").read_text())
    study = comparison.study
    first, second = (build_network(study.recipe_for(arm, 0), facts).state_dict() for arm in study.arms)
    other = build_network(study.recipe_for(study.arms[0], 1), facts).state_dict()
    weights = [name for name, value in first.items() if value.ndim > 1]
    assert weights
    for name in weights:
        a, b = first[name].flatten().double(), second[name].flatten().double()
        assert torch.corrcoef(torch.stack([a, b]))[0, 1] > 0.999999
        assert abs(torch.corrcoef(torch.stack([a, other[name].flatten().double()]))[0, 1]) < 0.2


def test_the_answer_is_printed(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A finished study is read again at once: nothing is trained."""
    code = cli.run(["compare", "--study", str(finished), "--out", str(finished), "--resume", "--workers", "0"])
    printed = capsys.readouterr()
    assert code == 0
    assert "mlp2 on digits, 1 epoch, 2 paired seeds: 4 trainings" in printed.out
    assert "95% interval" in printed.out
    assert f"Report: {finished / 'report.html'}" in printed.out
    assert "sigmoid" in printed.out


def test_json_is_all_there_is(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.run(
        ["compare", "--study", str(finished), "--out", str(finished), "--resume", "--json", "--workers", "0"]
    )
    assert code == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["schema"].startswith("hillock-comparison/")
    assert [arm["name"] for arm in printed["arms"]] == ["relu", "sigmoid"]
    assert Path(printed["report"]).exists()


def test_options_make_the_design(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Study] = []

    def stop(study: Study, **_: object) -> None:
        seen.append(study)
        raise KeyboardInterrupt

    monkeypatch.setattr("hillock.comparison.compare", stop)
    words = ["--reference", "rectifier", "--rope", "0.5", "--activations", "gelu,relu,leaky_relu(negative_slope=0.2)"]
    assert cli.run([*SMALL, *words, "--tune", "5", "--out", str(tmp_path)]) == 130
    (study,) = seen
    assert study.tuning is not None
    assert study.tuning.trials == 5
    assert study.rope == 0.005, "points on the command line, a share in the study"
    assert study.reference == "relu"
    assert [arm.name for arm in study.arms] == ["gelu", "relu", "leaky_relu(negative_slope=0.2)"]
    assert (study.recipe.network, study.recipe.epochs, study.seeds) == ("mlp2", 1, (0, 1))


def test_control_c_names_the_way_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hillock.comparison.compare", stop)
    assert cli.run([*SMALL, "--overwrite", "--out", str(tmp_path)]) == 130
    said = capsys.readouterr().err.strip()
    assert said.endswith(f"--workers 0 --out {tmp_path} --resume")
    assert "--overwrite" not in said


MISTAKES = {
    "misspelt activation": (["--activations", "relu,gelo"], "the name of an activation, got 'gelo'; try 'gelu'"),
    "one activation": (["--activations", "relu"], "at least two arms to compare, got relu"),
    "twice": (["--activations", "relu,gelu,relu"], "each arm once, got relu 2 times"),
    "unknown parameter": (["--activations", "relu,leaky_relu(slope=1)"], "negative_slope"),
    "unknown network": (["--network", "resnet9x"], "the name of a network, got 'resnet9x'"),
    "unknown data": (["--data", "digitz"], "digitz"),
    "unknown metric": (["--metric", "accuracy"], "test_error"),
    "unknown reference": (["--reference", "mish", "--activations", "relu,gelu"], "to compare with, got 'mish'"),
    "negative rope": (["--rope", "-1"], "--rope: input should be greater than or equal to 0"),
    "no such study": (["--study", "nowhere.toml"], "--study without --data"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_wrong_value_gets_one_sentence(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words, sentence = MISTAKES[case]
    assert cli.run([*SMALL, "--out", str(tmp_path / "out"), *words]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = [line for line in printed.err.strip().splitlines() if "trainings finished" not in line]
    assert len(lines) == 1, printed.err
    assert sentence in lines[0]


def test_an_occupied_folder_is_refused(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([*SMALL, "--activations", "relu,sigmoid", "--out", str(finished)]) == 2
    assert "--resume or --overwrite" in capsys.readouterr().err
