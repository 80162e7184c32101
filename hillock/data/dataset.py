"""What every other part sees of a data set: pictures as bytes, labels, class names and how to normalise."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy
import torch
from torch import Tensor

from hillock.errors import DataError

__all__ = ["DataSet", "Preprocessing", "SkippedPicture", "Split"]

# A data set whose largest class has this many times the pictures of its smallest is called imbalanced in the notes.
# hillock's own choice: below it the majority class of a ten-class set stays under a quarter.
IMBALANCE_WORTH_A_NOTE = 3.0


@dataclass(frozen=True)
class SkippedPicture:
    """A picture that could not be read and was left out because the user said so."""

    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class Split:
    """Pictures and labels of one part (train, validation or test) of a data set.

    * `images`: uint8 `[N, C, H, W]`, 0 black to 255 white. Large sets lie on disk: index what you need.
    * `labels`: int64 `[N]`, positions in `DataSet.class_names`.
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        assert self.images.dtype == torch.uint8, self.images.dtype
        assert self.images.ndim == 4, self.images.shape
        assert self.labels.dtype == torch.int64, self.labels.dtype
        assert len(self.images) == len(self.labels), (len(self.images), len(self.labels))

    def __len__(self) -> int:
        return len(self.labels)

    def class_counts(self, num_classes: int) -> list[int]:
        """Return the number of pictures of each class."""
        return [int(count) for count in torch.bincount(self.labels, minlength=num_classes)]


@dataclass(frozen=True, eq=False)
class Preprocessing:
    """Everything needed to turn a picture file into a network's input the way training did.

    The input is `(picture / 255 - mean) / std`, channel by channel, where `picture` is a uint8 picture resized so that
    its short side has `short_side` pixels, of which the central square of `image_size` pixels is kept.

    * `mean`, `std`: per channel, on the scale 0 to 1, from the training pictures.
    * `mean_picture`: float32 `[C, image_size, image_size]` on the scale 0 to 1; where given, it replaces `mean`.
    """

    class_names: tuple[str, ...]
    channels: int
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    short_side: int | None = None
    mean_picture: Tensor | None = None

    @property
    def decoded_size(self) -> int:
        """Pixels of the short side after resizing, before the central square is cut."""
        return self.short_side or self.image_size

    def normalise(self, pictures: Tensor) -> Tensor:
        """Return float32 inputs `[B, C, H, W]` for uint8 pictures of the same shape."""
        mean, std = (torch.tensor(values, device=pictures.device).view(-1, 1, 1) for values in (self.mean, self.std))
        if self.mean_picture is not None:
            mean = self.mean_picture.to(pictures.device)
            if pictures.shape[-2:] != mean.shape[-2:]:  # a view of another size: its pixels have no mean of their own
                mean = mean.mean((1, 2), keepdim=True)
        return (pictures.float() / 255 - mean) / std

    def to_facts(self) -> dict[str, Any]:
        """Return a JSON-ready mapping from which `from_facts` restores the same preprocessing."""
        return {
            "class_names": list(self.class_names),
            "channels": self.channels,
            "image_size": self.image_size,
            "short_side": self.short_side,
            "mean": list(self.mean),
            "std": list(self.std),
            "mean_picture": None if self.mean_picture is None else _pack(self.mean_picture),
        }

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Preprocessing:
        """Restore what `DataSet.facts()` or `to_facts()` wrote (the `data.json` of a run)."""
        if facts.get("kind") == "text":
            raise DataError("a network for pictures", got=f"one for text ({facts.get('name')})")
        missing = {"class_names", "channels", "image_size", "mean", "std"} - facts.keys()
        if missing:
            raise DataError(
                "the facts of a data set, as DataSet.facts() writes them", got=f"none for {sorted(missing)}"
            )
        packed = facts.get("mean_picture")
        size, channels = int(facts["image_size"]), int(facts["channels"])
        return cls(
            class_names=tuple(str(name) for name in facts["class_names"]),
            channels=channels,
            image_size=size,
            mean=tuple(float(value) for value in facts["mean"]),
            std=tuple(float(value) for value in facts["std"]),
            short_side=facts.get("short_side"),
            mean_picture=None if packed is None else _unpack(packed, (channels, size, size)),
        )


@dataclass(frozen=True, eq=False)
class DataSet:
    """Labelled pictures, decoded, with an official or seeded split.

    * `image_size`: pixels a side of what a network sees; the stored pictures may be larger so that crops can be drawn.
    * `mean`, `std`: per channel on the scale 0 to 1, from the training pictures.
    * `colour_covariance`: between the channels of the training pictures, on the scale 0 to 1 (for PCA lighting).
    * `fingerprint`: hash of all pixels, labels, class names and the split; equal on every machine for equal data.
    * `notes`: sentences a user should see (a split that was made here, pictures left out, imbalance).

    >>> from hillock import data
    >>> digits = data.load("digits")
    >>> digits.channels, digits.image_size, len(digits.class_names), digits.validation
    (1, 8, 10, None)
    """

    name: str
    train: Split
    validation: Split | None
    test: Split
    class_names: tuple[str, ...]
    channels: int
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str
    colour_covariance: tuple[tuple[float, ...], ...] = ()
    short_side: int | None = None
    mean_picture: Tensor | None = None
    notes: tuple[str, ...] = ()
    skipped: tuple[SkippedPicture, ...] = ()

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def splits(self) -> dict[str, Split]:
        """The parts that exist, in the order train, validation, test."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: part for name, part in parts.items() if part is not None}

    @property
    def preprocessing(self) -> Preprocessing:
        """How a picture file becomes an input of a network trained on this data."""
        return Preprocessing(
            class_names=self.class_names,
            channels=self.channels,
            image_size=self.image_size,
            mean=self.mean,
            std=self.std,
            short_side=self.short_side,
            mean_picture=self.mean_picture,
        )

    @property
    def imbalance(self) -> float:
        """Pictures of the largest training class over those of the smallest (infinite when a class has none)."""
        counts = self.train.class_counts(self.num_classes)
        return max(counts) / min(counts) if min(counts) else float("inf")

    def facts(self) -> dict[str, Any]:
        """Return a JSON-ready mapping: identity, sizes, class counts and the preprocessing."""
        return {
            "name": self.name,
            "fingerprint": self.fingerprint,
            "sizes": {name: len(part) for name, part in self.splits.items()},
            "class_counts": {name: part.class_counts(self.num_classes) for name, part in self.splits.items()},
            "skipped": [{"name": picture.name, "reason": picture.reason} for picture in self.skipped],
            "notes": list(self.notes),
            **self.preprocessing.to_facts(),
        }

    def with_imbalance_note(self) -> DataSet:
        """Return the data set with a note about its classes where one is much larger than another."""
        if self.imbalance < IMBALANCE_WORTH_A_NOTE:
            return self
        counts = self.train.class_counts(self.num_classes)
        large, small = counts.index(max(counts)), counts.index(min(counts))
        share = max(counts) / max(1, len(self.train))
        note = (
            f"the classes are imbalanced: {self.class_names[large]!r} has {counts[large]} training pictures, "
            f"{self.class_names[small]!r} has {counts[small]}; always saying the first is right for {share:.0%}"
        )
        return replace(self, notes=(*self.notes, note))


def _pack(picture: Tensor) -> str:
    return base64.b64encode(zlib.compress(picture.contiguous().numpy().astype("<f4").tobytes())).decode("ascii")


def _unpack(packed: str, shape: tuple[int, ...]) -> Tensor:
    values = numpy.frombuffer(zlib.decompress(base64.b64decode(packed)), dtype="<f4")
    return torch.from_numpy(values.astype(numpy.float32).reshape(shape))
