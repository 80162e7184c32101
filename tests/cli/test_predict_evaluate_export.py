"""A trained network in use: predict, evaluate and export, as a user types them."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from hillock import data
from hillock.cli import run as command
from hillock.training import Recipe, Run, train


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ResNet-8 that has seen a part of the digits twice: it knows something, and not everything."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    train(Recipe(data="digits", network="resnet8", activation="silu", epochs=2, limit=800, compile="off"), out=folder)
    return folder


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve test digits as PNG files named by their class."""
    folder = tmp_path_factory.mktemp("scans")
    digits = data.load("digits", limit=800)
    for place in range(12):
        name = f"{place:02}-is-{int(digits.test.labels[place])}.png"
        Image.fromarray(digits.test.images[place, 0].numpy()).save(folder / name)
    return folder


def test_files_folders_and_patterns_are_predicted_alike(
    run: Path, scans: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(["predict", str(run), str(scans), "--json", "--top", "3"]) == 0
    by_folder = json.loads(capsys.readouterr().out)
    assert len(by_folder) == 12
    assert all(len(entry["classes"]) == 3 for entry in by_folder)
    right = sum(entry["classes"][0]["class"] == entry["picture"][-5] for entry in by_folder)
    assert right >= 8  # guessing gives one of twelve
    assert command(["predict", str(run), str(scans / "*.png"), str(scans), "--json", "--top", "3"]) == 0
    assert json.loads(capsys.readouterr().out) == by_folder


def test_predictions_are_the_networks_own(run: Path, scans: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["predict", str(run), str(scans), "--json", "--top", "99"]) == 0
    said = json.loads(capsys.readouterr().out)
    opened = Run.open(run)
    paths = sorted(scans.iterdir())
    inputs = data.load_pictures(paths, data.Preprocessing.from_facts(opened.facts)).inputs
    digits = data.load("digits", limit=800)
    torch.testing.assert_close(inputs, digits.preprocessing.normalise(digits.test.images[:12]))
    with torch.no_grad():
        expected = opened.load_model()(inputs).softmax(1)
    for entry, likely in zip(said, expected, strict=True):
        for place in entry["classes"]:
            assert place["probability"] == pytest.approx(float(likely[int(place["class"])]), abs=1e-5)


def test_csv_has_a_line_for_each_rank(run: Path, scans: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["predict", str(run), str(scans), "--csv", "--top", "2", "--views", "mirrored"]) == 0
    lines = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(lines) == 24
    assert {line["rank"] for line in lines} == {"1", "2"}


def test_a_broken_picture_is_named_and_the_others_judged(
    run: Path, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    assert command(["predict", str(run), str(tmp_path / "broken.jpg"), str(next(scans.iterdir()))]) == 1
    told = capsys.readouterr()
    assert "cannot read" in told.err
    assert "broken.jpg: not a picture" in told.err
    assert told.out.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nowhere.jpg"], "expected a picture file, a folder or a pattern that matches some"),
        (["--views", "ten_crop", "SCANS"], "multi_view"),
        (["--weights", "best", "SCANS"], "validation pictures"),
        (["--csv", "--json", "SCANS"], "one of --csv and --json"),
    ],
)
def test_wrong_values_get_one_sentence(
    run: Path, scans: Path, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(scans) if word == "SCANS" else word for word in words]
    assert command(["predict", str(run), *words]) == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert told.count("\n") == 1


def test_evaluation_agrees_with_the_record(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["evaluate", str(run), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    final = Run.open(run).final
    assert result["error"] == pytest.approx(final["test_error"], abs=0.006)  # the record may be of bfloat16
    assert result["error_interval"][0] < result["error"] < result["error_interval"][1]
    assert sum(map(sum, result["confusion"])) == result["pictures"]
    assert command(["evaluate", str(run), "--part", "train", "--views", "multi_view"]) == 0
    shown = capsys.readouterr().out
    assert "true \\ said" in shown
    assert "calibration" in shown
    assert command(["evaluate", str(run), "--part", "validation"]) == 2
    assert "train, test" in capsys.readouterr().err
    assert command(["evaluate", str(run), "--data", "shapes:2:20"]) == 2
    assert "the run's classes" in capsys.readouterr().err


def test_exports_are_checked_and_documented(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime", reason="needs the onnx extra")
    assert command(["export", str(run), "--out", str(tmp_path), "--json"]) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert set(files) == {"model.safetensors", "model.pt2", "model.onnx", "preprocessing.json", "README.md"}
    assert all(entry.get("largest_deviation", 0) < 1e-4 for entry in files.values())
    steps = json.loads((tmp_path / "preprocessing.json").read_text())
    assert steps["class_names"] == [str(digit) for digit in range(10)]
    card = (tmp_path / "README.md").read_text()
    assert "test" in card
    assert "fingerprint" in card


def test_the_cards_example_runs_and_agrees(run: Path, scans: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs the onnx extra")
    assert command(["export", str(run), "--out", str(tmp_path), "--formats", "onnx"]) == 0
    code = (tmp_path / "README.md").read_text().split("```python\n")[1].split("```")[0]
    photo = sorted(scans.iterdir())[3]
    # Larger and not square: the example must resize and cut as hillock does.
    wide = Image.open(photo).resize((60, 48), Image.Resampling.BICUBIC)
    wide.save(tmp_path / "photo.jpg", quality=95)
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    opened = Run.open(run)
    inputs = data.load_pictures([tmp_path / "photo.jpg"], data.Preprocessing.from_facts(opened.facts)).inputs
    with torch.no_grad():
        expected = int(opened.load_model()(inputs).argmax())
    assert said.stdout.strip() == str(expected)


def test_a_wrong_export_is_noticed(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: a program that normalises by another mean than the network was trained with."""
    from hillock.errors import ModelError
    from hillock.training import exporting

    real = torch.export.export

    def shifted(deployed: torch.nn.Module, *arguments: object, **options: object) -> object:
        wrong = exporting.Deployed(deployed.model, data.Preprocessing.from_facts(Run.open(run).facts))  # type: ignore[arg-type]
        wrong.offset += 0.02
        return real(wrong.eval(), *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.export, "export", shifted)
    with pytest.raises(ModelError, match="deviation"):
        exporting.export_run(Run.open(run), tmp_path, ("torch",))


def test_unknown_formats_are_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["export", str(run), "--formats", "onnx,tflite"]) == 2
    assert "tflite" in capsys.readouterr().err


def test_preprocessing_of_files_equals_that_of_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A photo read for predicting gives the very input that evaluation gave it, mean picture and crop included."""
    monkeypatch.setenv("HILLOCK_CACHE", str(tmp_path / "cache"))
    draw = numpy.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(10):
            pixels = draw.integers(0, 256, (30, 41, 3), dtype=numpy.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.jpg")
    dataset = data.load(tmp_path / "photos", image_size=16, augmentation=data.Augmentation(short_side=20, mean="pixel"))
    evaluated = torch.cat([inputs for inputs, _ in data.Batches(dataset.train, 5, dataset=dataset).evaluation()])
    facts = json.loads(json.dumps(dataset.facts()))
    read = data.load_pictures(sorted((tmp_path / "photos").rglob("*.jpg")), data.Preprocessing.from_facts(facts)).inputs
    distance = (evaluated[:, None] - read[None]).abs().amax((2, 3, 4))
    assert distance.min(1).values.max() < 1e-5


def test_training_skips_broken_pictures_when_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HILLOCK_CACHE", str(tmp_path / "cache"))
    for name, colour in (("cat", "red"), ("dog", "blue")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(8):
            Image.new("RGB", (12 + number, 12), colour).save(tmp_path / "photos" / name / f"{number}.png")
    (tmp_path / "photos" / "cat" / "3.png").write_bytes(b"no picture")
    words = ["train", "--data", str(tmp_path / "photos"), "--image-size", "8", "--network", "mlp2", "--epochs", "1"]
    words += ["--out", str(tmp_path / "run"), "--quiet", "--compile", "off", "--allocator", "system"]
    assert command(words) == 2
    assert "cat/3.png (not a picture" in capsys.readouterr().err
    assert command([*words, "--broken", "skip", "--overwrite"]) == 0
    assert Run.open(tmp_path / "run").facts["skipped"][0]["name"] == "cat/3.png"
    photo = str(tmp_path / "photos" / "dog" / "0.png")
    assert command(["predict", str(tmp_path / "run"), photo]) == 0
