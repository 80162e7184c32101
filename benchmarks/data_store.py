"""The prepared store against a DataLoader that decodes: images a second for 224-pixel crops with flip and PCA lighting.

Both sides make the same thing from the same photos: float32 `[128, 3, 224, 224]`, channels innermost, from a short side
of 256 pixels, a random 224-pixel window, a random mirror, PCA lighting and the normalisation. They run in turn, a few
seconds each, so that whatever else the machine does hits both alike.

* store: `hillock.data.Batches` over the prepared store, in the training process.
* decoding: `torch.utils.data.DataLoader` with two workers; Pillow decodes (in draft mode where the JPEG allows it),
  resizes, crops and mirrors; NumPy lights and normalises.

    python benchmarks/data_store.py path/to/clothing --out benchmarks/results/data_store.json
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from hillock import data, provenance
from hillock.data import folders
from hillock.data.lighting import principal_components

IMAGE_SIZE, SHORT_SIDE, BATCH = 224, 256, 128
AUGMENTATION = data.Augmentation(short_side=SHORT_SIDE, flip=True, lighting="source")


class Decoding(Dataset[tuple[torch.Tensor, int]]):
    """The usual way: decode, resize, crop, mirror, light and normalise a photo each time it is asked for."""

    def __init__(self, folder: Path, dataset: data.DataSet) -> None:
        listing = folders.read(folder)
        rows = listing.parts["train"]
        self.paths = listing.read(rows)
        self.labels = listing.labels[rows.start : rows.stop]
        self.mean, self.std = (numpy.array(values, numpy.float32) for values in (dataset.mean, dataset.std))
        values, vectors = principal_components(dataset.colour_covariance)
        self.axes = (vectors * numpy.sqrt(values)).astype(numpy.float32)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        picture = Image.open(self.paths[row])
        picture.draft("RGB", (SHORT_SIDE, SHORT_SIDE))
        picture = picture.convert("RGB")
        scale = SHORT_SIDE / min(picture.size)
        size = (round(picture.width * scale), round(picture.height * scale))
        picture = picture.resize(size, Image.Resampling.BILINEAR)
        left, top = random.randint(0, size[0] - IMAGE_SIZE), random.randint(0, size[1] - IMAGE_SIZE)
        picture = picture.crop((left, top, left + IMAGE_SIZE, top + IMAGE_SIZE))
        if random.random() < 0.5:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = numpy.asarray(picture, dtype=numpy.float32) / 255
        shift = self.axes @ numpy.array([random.gauss(0, 0.1) for _ in range(3)], numpy.float32)
        pixels = (pixels - self.mean + shift) / self.std / numpy.float32(1.1)
        return torch.from_numpy(pixels), int(self.labels[row])


def timed(batches: Iterator[tuple[torch.Tensor, torch.Tensor]], seconds: float) -> float:
    """Return images a second over about this many seconds."""
    seen, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        seen += len(next(batches)[1])
    return seen / (time.perf_counter() - start)


def forever(batches: data.Batches) -> Iterator[Any]:
    epoch = 0
    while True:
        yield from batches.epoch(epoch)
        epoch += 1


def forever_decoded(loader: DataLoader[Any]) -> Iterator[Any]:
    while True:
        for pixels, labels in loader:
            yield pixels.permute(0, 3, 1, 2), labels  # channels innermost without a copy, like the other side


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="class folders of photos, with a train folder")
    parser.add_argument("--rounds", type=int, default=9, help="turns of each side")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a turn")
    parser.add_argument("--out", type=Path, default=None)
    arguments = parser.parse_args()

    start = time.perf_counter()
    dataset = data.load(arguments.folder, image_size=IMAGE_SIZE, augmentation=AUGMENTATION)
    prepared = time.perf_counter() - start
    start = time.perf_counter()
    data.load(arguments.folder, image_size=IMAGE_SIZE, augmentation=AUGMENTATION)
    reopened = time.perf_counter() - start

    common = {"dataset": dataset, "augmentation": AUGMENTATION, "drop_last": True, "channels_last": True}
    sides: dict[str, Iterator[Any]] = {
        "store": forever(data.Batches(dataset.train, BATCH, reuse=2, **common)),
        "store, new memory": forever(data.Batches(dataset.train, BATCH, **common)),
    }
    rates: dict[str, list[float]] = {"decoding": [], **{name: [] for name in sides}}
    decoding = Decoding(arguments.folder, dataset)
    for turn in range(arguments.rounds + 1):  # the first turn warms up and is not counted
        for name, side in sides.items():
            rate = timed(side, arguments.seconds)
            if turn:
                rates[name].append(rate)
        # A fresh loader each turn: its workers must not decode ahead while the store has its turn.
        loader = DataLoader(decoding, BATCH, shuffle=True, num_workers=2, drop_last=True)
        batches = forever_decoded(loader)
        next(batches)  # the workers have started
        rate = timed(batches, arguments.seconds)
        if turn:
            rates["decoding"].append(rate)
        del batches, loader
        print({name: round(values[-1]) for name, values in rates.items() if values}, flush=True)

    ratios = [fast / slow for fast, slow in zip(rates["store"], rates["decoding"], strict=True)]
    result = {
        "what": "images a second: 224-pixel crops of a short side of 256, flip, PCA lighting, batch 128, float32",
        "unit": "images/s",
        "n": arguments.rounds,
        "seconds_a_turn": arguments.seconds,
        "images_per_second": {name: _summary(values) for name, values in rates.items()},
        "store_over_decoding": _summary(ratios),
        "seconds_of_first_load": round(prepared, 2),
        "seconds_of_second_load": round(reopened, 2),
        "provenance": provenance.collect(),
    }
    text = json.dumps(result, indent=2)
    print(text)
    if arguments.out is not None:
        arguments.out.write_text(text + "\n")


def _summary(values: list[float]) -> dict[str, Any]:
    return {
        "median": round(statistics.median(values), 2),
        "lowest": round(min(values), 2),
        "highest": round(max(values), 2),
        "all": [round(value, 2) for value in values],
    }


if __name__ == "__main__":
    main()
