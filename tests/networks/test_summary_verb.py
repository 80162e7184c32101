"""`hillock summary` as typed: the three forms, other people's networks, and wrong values in one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hillock.cli import run
from hillock.networks import network, summarise


def test_terminal_markdown_and_json_say_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["summary", "resnet8"]) == 0
    terminal = capsys.readouterr().out
    assert run(["summary", "resnet8", "--markdown"]) == 0
    markdown = capsys.readouterr().out
    assert run(["summary", "resnet8", "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    for shown in (terminal, markdown):
        assert f"{table['parameters']:,}" in shown
        assert f"{table['multiply_adds_of_everything']:,}" in shown
    assert table["saved_bytes_lean"] < table["saved_bytes_eager"]
    assert len(markdown.splitlines()) == len(table["rows"]) + 3


@pytest.mark.parametrize("width", [80, 112, 150])
@pytest.mark.parametrize("name", ["resnet20", "alexnet", "preresnet164"])
def test_a_layer_is_one_line_at_every_width(
    name: str, width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert run(["summary", name, "--no-memory"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if line.startswith("│")]) == len(summarise(network(name), memory=False).rows) + 1


def test_input_activation_and_classes_are_used(capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "summary",
        "resnet8",
        "--input",
        "1x16x16",
        "--activation",
        "prelu",
        "--classes",
        "4",
        "--json",
        "--no-memory",
    ]
    assert run(words) == 0
    table = json.loads(capsys.readouterr().out)
    assert table["input_size"] == [1, 16, 16]
    assert table["rows"][-1]["output"] == [4]
    assert any(row["kind"] == "activation" and row["parameters"] for row in table["rows"])
    assert table["saved_bytes_eager"] is None


def test_names_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["summary", "--list"]) == 0
    assert "preresnet1001" in capsys.readouterr().out.split()


def test_a_network_of_the_user_s_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own_nets_for_summary.py").write_text(
        "from torch import nn\ndef build():\n    return nn.Sequential(nn.Flatten(), nn.Linear(12, 3), nn.ReLU())\n"
    )
    monkeypatch.chdir(tmp_path)
    assert run(["summary", "own_nets_for_summary:build", "--input", "3x2x2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parameters"] == 39


def test_a_timm_network(timm: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["summary", "timm/resnet18", "--input", "3x64x64", "--json", "--no-memory"]) == 0
    assert json.loads(capsys.readouterr().out)["parameters"] == 11_689_512


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (["resnt8"], "resnet8"),
        (["resnet8", "--activation", "gleu"], "gelu"),
        (["resnet8", "--input", "3x32"], "--input 3x224x224"),
        (["resnet8", "--input", "3x32x16"], "square"),
        (["os:getcwd", "--input", "3x8x8"], "torch.nn.Module"),
        (["nowhere.at_all:build"], "MODULE:FUNCTION"),
        ([], "hillock summary resnet20"),
    ],
)
def test_a_wrong_value_is_one_sentence_and_exit_code_2(
    words: list[str], advice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["summary", *words]) == 2
    said = capsys.readouterr().err
    assert advice in said.replace("\n", " ")
    assert "Traceback" not in said
