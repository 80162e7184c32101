"""A small set of class folders, and a cache of its own for every test."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
from PIL import Image

from hillock.randomness import numpy_generator


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HILLOCK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Forty pictures of noise, 24 x 18 pixels, in two classes: `photos/{cat,dog}/NN.png`."""
    draw = numpy_generator(0, "test photos")
    for name in ("cat", "dog"):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for number in range(20):
            pixels = draw.integers(0, 256, (18, 24, 3), dtype=numpy.uint8)
            Image.fromarray(pixels).save(folder / f"{number:02}.png")
    return tmp_path / "photos"
