"""The shell around all verbs: quick help, one sentence for every mistake, exit codes, Ctrl-C, crashes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import pytest
import typer
from pydantic import BaseModel, ConfigDict

from hillock import cli
from hillock.cli import door
from hillock.errors import TrainingError, UsageError


class Settings(BaseModel):
    """Stands for a recipe in the test of validation errors."""

    model_config = ConfigDict(extra="forbid")
    epochs: int = 1


def probe(
    what: Annotated[str, typer.Argument()] = "nothing",
    epochs: Annotated[int, typer.Option("--epochs", min=1)] = 3,
    width: Annotated[float, typer.Option("--width")] = 0.5,
    resume: door.Resume = False,
    as_json: door.Json = False,
) -> None:
    """Do what the test asks for.

    An example:

        hillock train usage --epochs 3
        hillock train crash
    """
    problems: dict[str, BaseException] = {
        "usage": UsageError("a learning rate above 0", got="-0.1", instead="--learning-rate 0.1"),
        "training": TrainingError("the loss was not finite at step 3"),
        "crash": ZeroDivisionError("division\nby zero"),
        "interrupt": KeyboardInterrupt(),
        "missing-file": FileNotFoundError(2, "No such file or directory", "/nowhere"),
        "findings": typer.Exit(1),
    }
    if what in problems:
        raise problems[what]
    if what == "validation":
        Settings(epochs="many")  # type: ignore[arg-type]
    if what == "extra":
        Settings(epoch=3)  # type: ignore[call-arg]
    if as_json:
        door.emit_json({"what": what, "value": float("nan"), "items": (1, float("inf"))})
    else:
        typer.echo(f"{what} {epochs} {width} {resume}")


@pytest.fixture(autouse=True)
def one_verb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "VERBS", (cli.Verb("train", f"{__name__}:probe", "Do what the test asks for."),))
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    monkeypatch.setattr(cli, "_load", lambda verb: probe)


MISTAKES = {
    "usage": (["train", "usage"], 2, "expected a learning rate above 0, got -0.1; try --learning-rate 0.1"),
    "training": (["train", "training"], 3, "the loss was not finite at step 3"),
    "unknown verb": (["trian"], 2, "expected the name of a command, got 'trian'; try 'train'"),
    "unknown option": (["train", "--epoch", "3"], 2, "expected an option of hillock train, got --epoch; try --epochs"),
    "not a number": (
        ["train", "--epochs", "many"],
        2,
        "valid integer, unable to parse string as an integer, got many; try --epochs 3",
    ),
    "out of range": (
        ["train", "--epochs", "0"],
        2,
        "--epochs: input should be greater than or equal to 1, got 0; try --epochs 3",
    ),
    "no value": (["train", "--epochs"], 2, "option '--epochs' requires an argument"),
    "too many words": (["train", "a", "b"], 2, "unexpected extra argument"),
    "missing file": (["train", "missing-file"], 2, "got /nowhere: No such file or directory"),
    "validation": (["train", "validation"], 2, "epochs: input should be a valid integer"),
    "extra field": (["train", "extra"], 2, "expected the name of a field, got epoch"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_gets_one_sentence_and_its_exit_code(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    words, code, sentence = MISTAKES[case]
    assert cli.run(words) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert sentence in printed.err
    assert printed.err.startswith("hillock ")
    assert len(printed.err.strip().splitlines()) == 1
    assert "Traceback" not in printed.err


def test_findings_exit_with_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["train", "findings"]) == 1
    assert capsys.readouterr().err == ""


def test_success(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["train", "fine", "--epochs", "5"]) == 0
    assert capsys.readouterr().out == "fine 5 0.5 False\n"


def test_a_crash_says_where_its_traceback_went(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert cli.run(["train", "crash"]) == 3
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    assert "fault in hillock" in error
    assert "ZeroDivisionError: division by zero" in error
    kept = list(tmp_path.glob("hillock-crash-*.txt"))
    assert len(kept) == 1
    assert str(kept[0]) in error
    assert "Traceback (most recent call last)" in kept[0].read_text()


@pytest.mark.parametrize("how", ["option", "environment"])
def test_a_traceback_is_shown_on_request(
    how: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "environment":
        monkeypatch.setenv("HILLOCK_TRACEBACK", "1")
    assert cli.run(["train", "crash", *(["--traceback"] if how == "option" else [])]) == 3
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_control_c_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["train", "interrupt", "--epochs", "4"]) == 130
    error = capsys.readouterr().err
    assert "stopped by Ctrl-C" in error
    assert error.rstrip().endswith("hillock train interrupt --epochs 4 --resume")


def test_json_is_all_that_standard_output_holds(capsys: pytest.CaptureFixture[str]) -> None:
    import json

    assert cli.run(["train", "fine", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"what": "fine", "value": None, "items": [1, None]}


def test_help_of_a_verb_keeps_its_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["train", "--help"]) == 0
    assert "    hillock train usage --epochs 3\n" in capsys.readouterr().out


def test_help_needs_no_torch_and_is_quick() -> None:
    check = "import sys; from hillock.cli import run; code = run(['--help']); sys.exit(code or 'torch' in sys.modules)"
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Usage: hillock" in done.stdout
    # 0.1 s on a quiet machine; the limit leaves room for a busy one and still catches an import of torch (2-3 s).
    assert time.perf_counter() - begin < 2.0


def test_python_dash_m_is_the_same_program() -> None:
    environment = os.environ | {"COLUMNS": "80"}
    done = subprocess.run(
        [sys.executable, "-m", "hillock", "--version"], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0
    assert done.stdout.startswith("hillock ")


def test_every_verb_is_found_and_explains_itself() -> None:
    import importlib

    importlib.reload(cli)
    for verb in cli.VERBS:
        assert len(verb.help) <= 80, f"the line of {verb.name} is too long for one line of help"
        loaded = cli._load(verb)
        parts = (
            [command.callback for command in loaded.registered_commands]
            if isinstance(loaded, typer.Typer)
            else [loaded]
        )
        text = "\n".join(door.help_text(part) for part in parts)
        assert f"hillock {verb.name}" in text, f"the help of {verb.name} has no example"
