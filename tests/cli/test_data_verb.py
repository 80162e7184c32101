"""`hillock data`: facts in the terminal and as JSON, and a page that shows each augmentation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy
import pytest
from PIL import Image

from hillock.cli import run as command


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HILLOCK_CACHE", str(tmp_path / "cache"))
    draw = numpy.random.default_rng(0)
    for name, count in (("cat", 20), ("dog", 4)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(count):
            pixels = draw.integers(0, 256, (30, 41, 3), dtype=numpy.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    return tmp_path / "photos"


def test_facts_show_the_classes_and_the_imbalance(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["data", "facts", str(photos), "--image-size", "16"]) == 0
    shown = capsys.readouterr().out
    assert "19 train" in shown
    assert "imbalanced" in shown
    assert command(["data", "facts", str(photos), "--image-size", "16", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["class_counts"]["train"] == [16, 3]


def test_broken_pictures_are_listed(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "dog" / "0.png").write_bytes(b"nothing")
    assert command(["data", "facts", str(photos), "--image-size", "16"]) == 2
    assert "dog/0.png" in capsys.readouterr().err
    assert command(["data", "facts", str(photos), "--image-size", "16", "--broken", "skip"]) == 0
    assert "left out: dog/0.png" in capsys.readouterr().out


def test_a_page_shows_every_augmentation(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    words = ["data", "show", str(photos), "--image-size", "16", "--out", str(page), "--json"]
    assert command([*words, "--short-side", "20"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {"as it is", "random crop", "scale jitter", "flip", "cutout", "your setting", "PCA lighting, paper"} < {
        *rows
    }
    assert "test views: ten_crop" in rows
    text = page.read_text()
    assert text.count("<img") == len(rows)
    assert "http" not in text
    assert command(words) == 0
    assert "crop, reflect padding" in json.loads(capsys.readouterr().out)["rows"]


def test_stores_are_listed_and_checked(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["data", "facts", str(photos), "--image-size", "16"]) == 0
    capsys.readouterr()
    assert command(["data", "stores", "--check", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["state"] == "whole"
    pictures = Path(entry["folder"]) / "pictures.u8"
    content = bytearray(pictures.read_bytes())
    content[5] ^= 64
    pictures.write_bytes(content)
    assert command(["data", "stores", "--check"]) == 1
    assert "damaged" in capsys.readouterr().out


def test_a_picture_shows_the_rows(tmp_path: Path) -> None:
    out = tmp_path / "digits.png"
    assert command(["data", "show", "digits", "--out", str(out), "--pictures", "4"]) == 0
    with Image.open(out) as picture:
        assert picture.width > 4 * 90
