"""Augmentation: what is drawn anew for a picture each time it is seen, as a record and as batches of draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from hillock.randomness import numpy_generator

__all__ = ["Augmentation", "Draws"]


class Augmentation(BaseModel):
    """How training pictures are varied. The default varies nothing.

    A batch's draws depend on nothing but the seed, the epoch and the step, each kind of draw on its own: switching
    lighting on leaves the crops as they were.

    >>> Augmentation(crop_padding=4, flip=True).flip
    'random'
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    crop_padding: int = Field(default=0, ge=0)
    """Pixels added on every side before a window of the picture's own size is cut at random (ResNet on CIFAR: 4)."""

    padding_fill: Literal["mean", "black", "reflect"] = "mean"
    """The added pixels: the mean colour (zero after the mean is subtracted), black, or the mirrored picture."""

    crop: Literal["random", "centre"] = "random"
    """Where the window lies when the stored pictures are larger than `image_size` (see `short_side`)."""

    flip: Literal["none", "random", "alternating"] = "none"
    """Mirror left-right: half of the pictures at random, or (alternating) a random half in the first epoch and from
    then on every picture in every other epoch (Jordan 2024, arXiv:2404.00498). True means random, False none."""

    short_side: int | None = Field(default=None, ge=1)
    """Pixels of the short side of the stored pictures (AlexNet: 256); None: `image_size`. Read by `data.load`."""

    scale_jitter: tuple[int, int] | None = None
    """Short side drawn uniformly from this range of pixels before the crop (ResNet on ImageNet: 256, 480)."""

    lighting: Literal["none", "paper", "source"] = "none"
    """Colour shift along the principal components of the training pictures' colours (Krizhevsky et al. 2012, 4.1).
    paper: normal draws times the eigenvalues, on the scale 0 to 1, as printed; source: times their square roots, and
    the mean-free picture divided by 1.1, as in the authors' code."""

    lighting_strength: float = Field(default=0.1, ge=0)
    """Standard deviation of the normal draws for `lighting` (the paper's 0.1)."""

    cutout: int = Field(default=0, ge=0)
    """Side in pixels of a square set to the mean, centred anywhere in the picture (DeVries and Taylor 2017); 0: off."""

    mean: Literal["channel", "pixel"] = "channel"
    """Subtract the mean of each channel, or the mean picture (AlexNet, ResNet on CIFAR). Read by `data.load`."""

    crop_group: int = Field(default=1, ge=1)
    """Neighbours in a batch that share crop and flip (AlexNet's code: 32; its paper: 1)."""

    @field_validator("flip", mode="before")
    @classmethod
    def _flip_as_word(cls, value: Any) -> Any:
        return {True: "random", False: "none"}[value] if isinstance(value, bool) else value

    @model_validator(mode="after")
    def _ordered(self) -> Augmentation:
        if self.scale_jitter is not None and not 1 <= self.scale_jitter[0] <= self.scale_jitter[1]:
            raise ValueError(f"scale_jitter must be two ascending short sides in pixels, not {self.scale_jitter}")
        if self.scale_jitter is not None and self.crop_padding:
            raise ValueError("crop_padding and scale_jitter exclude each other: both say where the window comes from")
        return self

    @property
    def varies(self) -> bool:
        """Whether two epochs can show different inputs."""
        return self != Augmentation(mean=self.mean, short_side=self.short_side, crop="centre") and (
            bool(self.crop_padding or self.cutout or self.scale_jitter or self.short_side)
            or self.flip != "none"
            or self.lighting != "none"
        )


Integers = NDArray[numpy.int64]


@dataclass(frozen=True)
class Draws:
    """What was drawn for the pictures of one batch, in order.

    * `top`, `left`: the window's corner in the padded picture, `side`: its pixels a side before resizing.
    * `flip`: mirrored or not. `lighting`: standard normals `[B, C]`. `hole_row`, `hole_column`: centre of the cutout.
    """

    top: Integers
    left: Integers
    side: Integers
    flip: NDArray[numpy.bool_]
    lighting: NDArray[numpy.float64] | None
    hole_row: Integers | None
    hole_column: Integers | None

    def __getitem__(self, part: slice) -> Draws:
        fields: dict[str, Any] = {name: value if value is None else value[part] for name, value in vars(self).items()}
        return Draws(**fields)


def draw(
    augmentation: Augmentation,
    rows: Integers,
    *,
    stored: int,
    image_size: int,
    channels: int,
    seed: int,
    epoch: int,
    step: int,
) -> Draws:
    """Draw for the pictures `rows` of one global batch, stored with `stored` pixels a side."""
    count = len(rows)

    def generator(kind: str) -> numpy.random.Generator:
        return numpy_generator(seed, "augment", kind, epoch, step)

    groups = -(-count // augmentation.crop_group)

    def shared(values: Any) -> Any:
        return numpy.repeat(values, augmentation.crop_group)[:count]

    side = numpy.full(count, image_size)
    if augmentation.scale_jitter is not None:
        low, high = augmentation.scale_jitter
        short_sides = generator("scale").integers(low, high + 1, count)
        side = numpy.clip(numpy.rint(image_size * stored / short_sides).astype(numpy.int64), 1, stored)
    room = stored + 2 * augmentation.crop_padding - side
    if augmentation.crop == "random":
        corner = generator("crop").random((2, groups))
        top, left = (numpy.floor(shared(row) * (room + 1)).astype(numpy.int64) for row in corner)
    else:
        top = left = room // 2
    if augmentation.flip == "random":
        flip = shared(generator("flip").random(groups) < 0.5)
    elif augmentation.flip == "alternating":
        flip = (_first_flips(seed, rows) + epoch) % 2 == 1
    else:
        flip = numpy.zeros(count, dtype=bool)
    holes = generator("cutout").integers(0, image_size, (2, count)) if augmentation.cutout else (None, None)
    lighting = generator("lighting").standard_normal((count, channels)) if augmentation.lighting != "none" else None
    return Draws(top, left, side, flip, lighting, *holes)


def centre(count: int, *, stored: int, image_size: int) -> Draws:
    """Return the draws of no augmentation: the central window, unmirrored."""
    corner = numpy.full(count, (stored - image_size) // 2)
    return Draws(corner, corner, numpy.full(count, image_size), numpy.zeros(count, dtype=bool), None, None, None)


def _first_flips(seed: int, rows: Integers) -> Integers:
    """Return a fair bit for each row of the data set, the same in every epoch (a hash: splitmix64 of the row)."""
    key = numpy_generator(seed, "augment", "alternating flip").integers(0, 2**63, dtype=numpy.uint64)
    mixed = (rows.astype(numpy.uint64) + key) * numpy.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
    return ((mixed ^ (mixed >> numpy.uint64(31))) & numpy.uint64(1)).astype(numpy.int64)
