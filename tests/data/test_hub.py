"""Data sets in the forms of `datasets`: listed, and streamed by one or several processes."""

from __future__ import annotations

import io
from pathlib import Path

import datasets
import numpy
import pytest
import torch
from PIL import Image

from hillock import data
from hillock.data import hub
from hillock.data.preparing import prepare

NAMES = ["cat", "dog", "owl"]
FEATURES = datasets.Features({"picture": datasets.Image(), "kind": datasets.ClassLabel(names=NAMES)})


def encoded(number: int) -> dict[str, object]:
    """A picture whose brightness is its number, so that it can be recognised."""
    file = io.BytesIO()
    Image.new("RGB", (10, 8), (number, number, number)).save(file, format="PNG")
    return {"bytes": file.getvalue(), "path": None}


def table(numbers: range) -> datasets.Dataset:
    columns = {"picture": [encoded(number) for number in numbers], "kind": [number % 3 for number in numbers]}
    return datasets.Dataset.from_dict(columns, features=FEATURES)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """`datasets` waits 5 s at the end of a shuffled stream for Arrow's threads; local files need no such wait."""
    monkeypatch.setattr(datasets.config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Four Parquet shards of 30 training pictures each, and a test file."""
    (tmp_path / "set").mkdir()
    for shard in range(4):
        table(range(30 * shard, 30 * shard + 30)).to_parquet(tmp_path / "set" / f"train-{shard:05}-of-00004.parquet")
    table(range(120, 150)).to_parquet(tmp_path / "set" / "test-00000-of-00001.parquet")
    return tmp_path / "set"


def numbers_in(dataset: data.DataSet, inputs: torch.Tensor) -> list[int]:
    values = inputs[:, 0, 0, 0] * dataset.std[0] + dataset.mean[0]
    return [round(float(value) * 255) for value in values]


def test_shards_are_one_part_in_order(files: Path, cache: Path) -> None:
    loaded = data.load(files, image_size=8)
    assert (len(loaded.train), len(loaded.test)) == (120, 30)
    assert loaded.class_names == tuple(NAMES)
    assert loaded.train.images[:, 0, 0, 0].tolist() == list(range(120))
    assert loaded.train.labels.tolist() == [number % 3 for number in range(120)]


def test_a_dataset_dict_is_listed(cache: Path) -> None:
    listing = hub.listing_of(datasets.DatasetDict(train=table(range(20)), validation=table(range(20, 30))), "some/set")
    assert listing.parts == {"train": range(20), "validation": range(20, 30)}
    store, _ = prepare(listing, numpy.arange(30), size=8, channels=3)
    assert store.images[:, 0, 0, 0].tolist() == list(range(30))


def test_string_labels_become_classes(tmp_path: Path, cache: Path) -> None:
    columns = {"image": [encoded(number)["bytes"] for number in range(20)], "label": ["b", "a"] * 10}
    datasets.Dataset.from_dict(columns).to_parquet(tmp_path / "all.parquet")
    loaded = data.load(tmp_path / "all.parquet", image_size=8)
    assert loaded.class_names == ("a", "b")
    assert len(loaded.test) == 4


def test_a_stream_covers_the_data_and_repeats(files: Path) -> None:
    opened = data.stream(files, image_size=8)
    assert opened.sample.class_names == tuple(NAMES)
    first = [numbers_in(opened.sample, inputs) for inputs, _ in opened.epoch(0, 10, buffer=50)]
    again = [numbers_in(opened.sample, inputs) for inputs, _ in opened.epoch(0, 10, buffer=50)]
    other = [numbers_in(opened.sample, inputs) for inputs, _ in opened.epoch(1, 10, buffer=50)]
    assert sorted(number for batch in first for number in batch) == list(range(120))
    assert first == again != other
    for inputs, targets in opened.epoch(0, 10, shuffled=False):
        assert [number % 3 for number in numbers_in(opened.sample, inputs)] == targets.tolist()


@pytest.mark.parametrize("world_size", [2, 3])
def test_processes_read_different_pictures(files: Path, world_size: int) -> None:
    opened = data.stream(files, image_size=8)
    shares = [
        [
            number
            for inputs, _ in opened.epoch(0, 5, rank=rank, world_size=world_size, buffer=50)
            for number in numbers_in(opened.sample, inputs)
        ]
        for rank in range(world_size)
    ]
    assert sorted(number for share in shares for number in share) == list(range(120))


def test_a_stream_leaves_broken_pictures_out_and_says_so(tmp_path: Path) -> None:
    columns = {"picture": [encoded(number) for number in range(10)], "kind": [0] * 10}
    columns["picture"][4] = {"bytes": b"nothing", "path": None}
    datasets.Dataset.from_dict(columns, features=FEATURES).to_parquet(tmp_path / "train.parquet")
    opened = data.stream(tmp_path / "train.parquet", image_size=8)
    assert sum(len(targets) for _, targets in opened.epoch(0, 4, shuffled=False)) == 9
    assert [broken.name for broken in opened.skipped] == ["example 4"]
