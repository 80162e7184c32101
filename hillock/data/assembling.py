"""From decoded pictures and the rows of each part to the finished data set with its statistics and identity."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy
import torch
from torch import Tensor

from hillock.data.augmentation import Augmentation
from hillock.data.dataset import DataSet, SkippedPicture, Split
from hillock.data.listing import Listing
from hillock.data.splitting import Rows
from hillock.data.statistics import ColourStatistics, colour_statistics, mean_picture
from hillock.data.store import Store

__all__ = ["Decoded", "assemble"]


@dataclass(frozen=True, eq=False)
class Decoded:
    """All decoded pictures of a source, uint8 `[N, C, H, W]`, before they are split.

    `content`: a hash of the pixels where one is known already. `rows`: which rows of the source they are (None: all).
    """

    name: str
    images: Tensor
    labels: Rows
    class_names: tuple[str, ...]
    content: str | None = None
    rows: Rows | None = None
    notes: tuple[str, ...] = ()
    skipped: tuple[SkippedPicture, ...] = ()

    @classmethod
    def from_store(cls, store: Store, listing: Listing, order: Rows) -> Decoded:
        """Put the labels to the pictures of a store of the rows `order`; the skipped ones are gone."""
        rows = numpy.delete(order, list(store.skipped_rows))
        notes: tuple[str, ...] = ()
        if store.skipped:
            names = ", ".join(picture.name for picture in store.skipped[:3])
            more = " and others" if len(store.skipped) > 3 else ""
            notes = (f"{len(store.skipped)} of {len(order)} pictures cannot be read and were left out: {names}{more}",)
        content = hashlib.sha256("\x1f".join(store.hashes).encode()).hexdigest()
        return cls(
            name=listing.name,
            images=store.images,
            labels=listing.labels[rows],
            class_names=listing.class_names,
            content=content,
            rows=rows,
            notes=notes,
            skipped=store.skipped,
        )

    def places(self, rows_of_parts: dict[str, Rows]) -> dict[str, Rows]:
        """Translate rows of the source into positions in `images`; rows that were skipped fall away."""
        if self.rows is None:
            return rows_of_parts
        position = numpy.full(max(int(self.rows.max()), *(int(r.max()) for r in rows_of_parts.values())) + 1, -1)
        position[self.rows] = numpy.arange(len(self.rows))
        translated = {name: position[rows] for name, rows in rows_of_parts.items()}
        return {name: places[places >= 0] for name, places in translated.items()}


def assemble(
    decoded: Decoded,
    rows: dict[str, Rows],
    image_size: int | None,
    augmentation: Augmentation,
    notes: tuple[str, ...],
    cache: Path | None,
) -> DataSet:
    """Return the data set of the given positions in `decoded`; `cache` remembers its statistics (None: do not)."""
    splits = {
        name: Split(_select(decoded.images, chosen), torch.from_numpy(decoded.labels[chosen]))
        for name, chosen in rows.items()
    }
    train = splits["train"]
    stored = train.images.shape[2]
    size = image_size or stored
    border = (stored - size) // 2
    fingerprint = _fingerprint(decoded, rows, splits)
    colours = _remembered(train.images, None if cache is None else cache / "statistics" / f"{fingerprint[:32]}.json")
    centre = train.images[:, :, border : border + size, border : border + size]
    return DataSet(
        name=decoded.name,
        train=train,
        validation=splits.get("validation"),
        test=splits["test"],
        class_names=decoded.class_names,
        channels=train.images.shape[1],
        image_size=size,
        mean=colours.mean,
        std=colours.std,
        colour_covariance=colours.covariance,
        fingerprint=fingerprint,
        short_side=augmentation.short_side,
        mean_picture=mean_picture(centre) if augmentation.mean == "pixel" else None,
        notes=notes,
        skipped=decoded.skipped,
    ).with_imbalance_note()


def _select(images: Tensor, rows: Rows) -> Tensor:
    """Return the rows of `images`: a view when they are consecutive, else a copy in the same layout."""
    if len(rows) and rows[-1] - rows[0] + 1 == len(rows):
        return images[int(rows[0]) : int(rows[-1]) + 1]
    inner = images.permute(0, 2, 3, 1)
    return inner[torch.from_numpy(rows)].permute(0, 3, 1, 2)


def _fingerprint(decoded: Decoded, rows: dict[str, Rows], splits: dict[str, Split]) -> str:
    """Hash the pixels, labels, class names and parts; nothing about where the files lie or when they were written."""
    content = decoded.content
    if content is None:
        pixels = decoded.images.permute(0, 2, 3, 1).contiguous().numpy()
        content = hashlib.sha256(pixels.data).hexdigest()
    total = hashlib.sha256("\x1f".join([content, str(tuple(decoded.images.shape)), *decoded.class_names]).encode())
    for name, split in splits.items():
        total.update(name.encode())
        total.update(rows[name].astype("<i8").tobytes())
        total.update(split.labels.numpy().astype("<i8").tobytes())
    return total.hexdigest()


def _remembered(images: Tensor, path: Path | None) -> ColourStatistics:
    """Return the statistics of the training pictures, from the file where they were measured before."""
    if path is not None and path.exists():
        try:
            known = json.loads(path.read_text())
            return ColourStatistics(tuple(known["mean"]), tuple(tuple(row) for row in known["covariance"]))
        except (OSError, ValueError, KeyError, TypeError):
            pass  # a damaged note is measured and written again
    colours = colour_statistics(images)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        unfinished.write_text(json.dumps({"mean": colours.mean, "covariance": colours.covariance}))
        unfinished.replace(path)
    return colours
