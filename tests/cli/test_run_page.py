"""The page of one training, from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from hillock import cli
from hillock.training.loop import train
from hillock.training.recipe import Recipe


def test_diagnose_writes_the_page_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = train(Recipe(data="digits", network="mlp4", epochs=1, threads=1), out=tmp_path / "run", quiet=True)
    page = tmp_path / "page.html"
    assert cli.run(["diagnose", str(run.folder), "--html", str(page)]) in (0, 1)
    text = page.read_text()
    assert "mlp4 with relu on digits" in text
    assert 'id="figure-profile-0"' in text
    capsys.readouterr()
    assert cli.run(["diagnose", "model.py:build", "--data", "digits", "--html", str(page)]) == 2
