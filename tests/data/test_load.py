"""Sources become data sets: sizes, labels, splits, and the shape of errors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hillock import data
from hillock.errors import DataError, UnknownNameError, UsageError


def test_digits_are_split_by_class_and_the_split_follows_the_seed() -> None:
    digits = data.load("digits")
    assert (len(digits.train), len(digits.test)) == (1438, 359)
    assert digits.train.images.shape[1:] == (1, 8, 8)
    assert digits.imbalance < 1.1
    again, other = data.load("digits"), data.load("digits", seed=1)
    assert again.fingerprint == digits.fingerprint != other.fingerprint
    assert torch.equal(again.train.images, digits.train.images)


def test_a_validation_part_is_split_off_on_request() -> None:
    digits = data.load("digits", validation_share=0.1)
    assert digits.validation is not None
    assert len(digits.train) + len(digits.validation) == 1438
    assert digits.validation.class_counts(10) == pytest.approx([14] * 10, abs=1)


@pytest.mark.parametrize(
    ("source", "options", "error", "words"),
    [
        ("digit", {}, UnknownNameError, "try 'digits'"),
        ("digits", {"image_size": 0}, UsageError, "image size"),
        ("digits", {"limit": 0}, UsageError, "limit"),
        ("digits", {"validation_share": 2}, UsageError, "share"),
        ("/nowhere/at/all", {}, DataError, "a folder or file that exists"),
    ],
)
def test_wrong_values_are_named(source: str, options: dict[str, int], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        data.load(source, **options)  # type: ignore[arg-type]


def test_facts_restore_the_preprocessing() -> None:
    import json

    digits = data.load("digits", augmentation=data.Augmentation(mean="pixel"))
    restored = data.Preprocessing.from_facts(json.loads(json.dumps(digits.facts())))
    pictures = digits.test.images[:5]
    assert torch.equal(restored.normalise(pictures), digits.preprocessing.normalise(pictures))
    assert digits.mean_picture is not None
    assert torch.equal(restored.mean_picture, digits.mean_picture)  # type: ignore[arg-type]


def test_parquet_in_the_hubs_layout(data_folder: Path, cache: Path) -> None:
    cifar = data.load(data_folder / "cifar10-jpeg", limit=200)
    assert (len(cifar.train), len(cifar.test)) == (200, 200)
    assert cifar.train.class_counts(10) == [20] * 10
    assert cifar.class_names[:2] == ("airplane", "automobile")
    assert cifar.train.images.shape[1:] == (3, 32, 32)


def test_class_folders_with_parts(data_folder: Path, cache: Path) -> None:
    clothing = data.load(data_folder / "clothing", image_size=32, limit=60)
    assert {name: len(part) for name, part in clothing.splits.items()} == {"train": 60, "validation": 60, "test": 60}
    assert clothing.num_classes == 10
    assert any("imbalanced" in note for note in clothing.notes)
    with pytest.raises(DataError, match="--image-size 96"):
        data.load(data_folder / "clothing")
