"""Trainings on what is not a set of kept pictures: token sequences, and pictures that stream by."""

from __future__ import annotations

import io
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy
import pytest
import torch
from PIL import Image

from hillock import data
from hillock.cli import run as hillock
from hillock.data.feeding import evaluation_batches, training_batches
from hillock.data.streamed import open_streamed
from hillock.errors import DataError, UsageError
from hillock.training import Recipe, Run, train

Same = Callable[[Run, Run], bool]
GCNN = Recipe.load("gcnn-2016").replace(network_options={"width": 0.02}, epochs=2, steps=None, batch_size=8)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text in which every word but the first of a line follows from the one before."""
    draw = random.Random(0)
    lines = ("the cat sat on a mat", "my dog ran to his house", "we go home when it rains")
    path: Path = tmp_path_factory.mktemp("text") / "story.txt"
    path.write_text("\n".join(draw.choice(lines) for _ in range(500)))
    return path


@pytest.fixture
def language(story: Path) -> Recipe:
    return GCNN.replace(data=str(story), **{"text.length": 16, "text.least_count": 1})


def test_the_gated_network_learns_to_read(language: Recipe, tmp_path: Path) -> None:
    run = train(language.replace(**{"optimizer.momentum": 0.9}), out=tmp_path)
    # Two thirds of a line's first words are guessed wrong, all others can be known: 2/3 of one word in seven.
    assert run.final["test_error"] < 0.2
    assert run.final["test_loss"] < 0.5  # ln 3 / 7 = 0.16 nats at best; the unigram's is about 2.6
    assert run.facts["kind"] == "text"
    assert run.load_model()(torch.zeros(1, 5, dtype=torch.int64)).shape == (1, 5, len(run.facts["class_names"]))


def test_a_text_is_resumed_bit_for_bit(language: Recipe, tmp_path: Path, same: Same, watching: Any) -> None:
    recipe = language.replace(accumulate=2)
    whole = train(recipe, out=tmp_path / "whole")
    observer = watching(17, lambda context: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        train(recipe, out=tmp_path / "halves", observers=[observer])
    halves = train(recipe, out=tmp_path / "halves", resume=True)
    assert same(whole, halves)
    assert [line["test_loss"] for line in whole.record] == [line["test_loss"] for line in halves.record]


def test_the_command_line_trains_on_a_text(story: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "--recipe", "gcnn-2016", "--data", str(story), "--epochs", "1", "--out", str(tmp_path / "run")]
    words += ["--set", "network_options={width=0.02}", "--set", "text.length=16", "--quiet", "--allocator", "system"]
    assert hillock(words) == 0
    assert "perplexity" in capsys.readouterr().out
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png")
    for verb, *more in (["predict", str(tmp_path / "x.png")], ["evaluate"], ["export"], ["diagnose"]):
        assert hillock([verb, str(tmp_path / "run"), *more]) == 2
        assert "text" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"network": "resnet8", "network_options": {}, "activation": "relu"}, "network that reads tokens"),
        ({"label_smoothing": 0.1}, "label_smoothing = 0 for text"),
        ({"augmentation": {"flip": "random"}}, "no augmentation for text"),
        ({"data": "digits", "text": None}, "a text for gcnn8"),
        ({"data": "digits", "network": "mlp", "network_options": {}}, r"a text for the settings \[text\]"),
    ],
)
def test_what_does_not_go_with_a_text_is_refused(
    changes: dict[str, Any], sentence: str, language: Recipe, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=sentence):
        train(language.replace(**changes), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def written(folder: Path, name: str, count: int, seed: int) -> None:
    """A Parquet file of dark and bright pictures, which are the two classes."""
    draw = numpy.random.default_rng(seed)
    pictures, kinds = [], []
    for number in range(count):
        level = 60 if number % 2 else 180
        file = io.BytesIO()
        Image.fromarray(draw.integers(level, level + 40, (8, 8, 3), dtype=numpy.uint8)).save(file, format="PNG")
        pictures.append({"bytes": file.getvalue(), "path": None})
        kinds.append(number % 2)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["bright", "dark"])})
    table = datasets.Dataset.from_dict({"image": pictures, "label": kinds}, features=features)
    table.to_parquet(folder / f"{name}.parquet")


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("shards")
    for shard in range(3):
        written(folder, f"train-{shard:05}-of-00003", 50, shard)
    written(folder, "test-00000-of-00001", 30, 9)
    return folder


@pytest.fixture
def streaming(shards: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    # `datasets` waits 5 s at the end of a shuffled stream for Arrow's threads; local files need no such wait.
    monkeypatch.setattr(datasets.config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0)
    return Recipe(data=f"stream:{shards}", image_size=8, network="mlp", network_options={"width": 16}, batch_size=20)


def test_a_stream_is_trained_on_and_resumed_bit_for_bit(
    streaming: Recipe, tmp_path: Path, same: Same, watching: Any
) -> None:
    recipe = streaming.replace(epochs=2, **{"augmentation.crop_padding": 1, "augmentation.mean": "pixel"})
    whole = train(recipe, out=tmp_path / "whole")
    assert whole.final["step"] == 14  # 150 pictures: seven batches of 20 an epoch
    assert whole.final["test_error"] == 0
    assert whole.facts["sizes"] == {"train": 150, "test": 30}
    observer = watching(10, lambda context: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        train(recipe, out=tmp_path / "halves", observers=[observer])
    assert same(whole, train(recipe, out=tmp_path / "halves", resume=True))


def test_the_verbs_take_a_run_on_a_stream(
    streaming: Recipe, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--data", streaming.data, "--image-size", "8", "--network", "mlp", "--epochs", "1"]
    words += ["--health", "3", "--quiet", "--allocator", "system", "--out", str(tmp_path / "run")]
    assert hillock(words) == 0
    assert hillock(["evaluate", str(tmp_path / "run")]) == 2
    assert "pictures that are kept" in capsys.readouterr().err
    assert hillock(["evaluate", str(tmp_path / "run"), "--data", str(shards)]) == 0
    assert hillock(["runs", "list", "--in", str(tmp_path)]) == 0
    assert hillock(["data", "facts", streaming.data]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_every_process_of_a_stream_makes_as_many_steps_of_its_own(streaming: Recipe) -> None:
    opened = open_streamed(streaming.data, image_size=8, limit=None, augmentation=None)
    shares = [
        [
            inputs
            for inputs, _ in training_batches(opened, 20, seed=0, augmentation=None, rank=rank, world_size=2).epoch(0)
        ]
        for rank in (0, 1)
    ]
    assert [[len(batch) for batch in share] for share in shares] == [[10] * 7] * 2
    seen = [{picture.numpy().tobytes() for batch in share for picture in batch} for share in shares]
    assert not seen[0] & seen[1]
    judged = [evaluation_batches(opened, "test", 20, rank=rank, world_size=2) for rank in (0, 1)]
    assert sum(len(targets) for share in judged for _, targets in share) == 30


def test_a_stream_that_runs_dry_is_read_again(streaming: Recipe, shards: Path) -> None:
    opened = open_streamed(f"stream:{shards}", image_size=8, limit=None, augmentation=None)
    longer = data.StreamedData(train=opened.train, test=opened.test, pictures=400)
    batches = training_batches(longer, 20, seed=0, augmentation=None)
    first = [inputs for inputs, _ in batches.epoch(0)]
    assert len(first) == len(batches) == 20
    assert not torch.equal(first[0], first[7])
    assert torch.equal(first[12], next(batches.epoch(0, 12))[0])


def test_unusable_streams_are_named(streaming: Recipe, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--image-size"):
        train(streaming.replace(image_size=None), out=tmp_path / "run")
    with pytest.raises(DataError, match="Parquet files"):
        train(streaming.replace(data=f"stream:{tmp_path}"), out=tmp_path / "run")
