"""The procedural pictures: any number of classes and any size, repeatable, and not to be told apart by colour."""

from __future__ import annotations

import numpy
import pytest
import torch

from hillock import data
from hillock.errors import DataError


def test_shapes_of_any_size_and_number() -> None:
    shapes = data.load("shapes:23:230", image_size=12)
    assert shapes.num_classes == len(set(shapes.class_names)) == 23
    assert shapes.train.images.shape == (230, 3, 12, 12)
    assert shapes.train.class_counts(23) == [10] * 23
    assert len(shapes.test) == 46


def test_the_seed_fixes_the_pictures() -> None:
    first, again, other = (data.load("shapes:4:40", image_size=8, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.train.images, again.train.images)
    assert first.fingerprint == again.fingerprint != other.fingerprint


def test_the_mean_colour_says_nothing_about_the_class() -> None:
    shapes = data.load("shapes:2:600", image_size=8)
    colours = shapes.train.images.float().mean((2, 3)).numpy()
    labels = shapes.train.labels.numpy()
    # A difference between two classes of 300 pictures within four standard errors.
    error = colours.std(0) * numpy.sqrt(2 / 300)
    assert (numpy.abs(colours[labels == 0].mean(0) - colours[labels == 1].mean(0)) < 4 * error).all()


@pytest.mark.parametrize("wrong", ["shapes:", "shapes:1", "shapes:ten", "shapes:10:3"])
def test_impossible_shapes_are_refused(wrong: str) -> None:
    with pytest.raises(DataError, match="shapes:10:5000"):
        data.load(wrong)
