"""Procedural pictures: coloured shapes on textured grounds, any size and number of classes, offline.

`shapes` has ten classes and 5,000 + 1,000 pictures of 32 pixels; `shapes:20`, `shapes:20:10000` choose the number of
classes and of training pictures. Class `k` is a polygon or star of a certain number of points, filled or an outline;
position, size, rotation, colours, texture and noise are drawn anew for every picture, so that colour and place say
nothing about the class.
"""

from __future__ import annotations

import re
from typing import Any

import numpy
import torch
from numpy.typing import NDArray

from hillock.data.assembling import Decoded
from hillock.errors import DataError
from hillock.randomness import numpy_generator

__all__ = ["NAME", "is_shapes", "read"]

NAME = "shapes"
SIZE = 32
CLASSES = 10
TRAIN_PICTURES = 5_000
# One test picture for every five of training.
TEST_PORTION = 5
# Samples a pixel side when a shape is drawn: 2x2 samples make edges smooth.
OVERSAMPLING = 2
BLOCK = 500

# (points, depth of the notches between them); a class beyond the list has more points.
KINDS = [(0, 0.0), (3, 0.0), (4, 0.0), (5, 0.45), (6, 0.0)]
Floats = NDArray[numpy.float64]


def is_shapes(source: str) -> bool:
    """Say whether a source is `shapes`, `shapes:CLASSES` or `shapes:CLASSES:PICTURES`."""
    return source == NAME or source.startswith(f"{NAME}:")


def class_name(label: int) -> str:
    """Return the name of a class.

    >>> [class_name(label) for label in (0, 1, 2, 7, 10)]
    ['disc', 'disc outline', 'triangle', '5-pointed star outline', 'heptagon']
    """
    points, notch = _kind(label)
    corners = {0: "disc", 3: "triangle", 4: "square", 5: "pentagon", 6: "hexagon", 7: "heptagon", 8: "octagon"}
    name = f"{points}-pointed star" if notch else corners.get(points, f"{points}-gon")
    return f"{name} outline" if label % 2 else name


def read(source: str, image_size: int | None, seed: int) -> tuple[Decoded, dict[str, range]]:
    """Draw the data set that `source` asks for; `seed` chooses other pictures of the same classes."""
    match = re.fullmatch(r"shapes(?::(\d+))?(?::(\d+))?", source)
    classes = int(match[1] or CLASSES) if match else 0
    count = int(match[2] or TRAIN_PICTURES) if match else 0
    if classes < 2 or count < classes:
        raise DataError("shapes, shapes:CLASSES or shapes:CLASSES:PICTURES", got=repr(source), instead="shapes:10:5000")
    size = image_size or SIZE
    parts = {"train": range(count), "test": range(count, count + max(classes, count // TEST_PORTION))}
    total = parts["test"].stop
    labels = numpy.arange(total) % classes
    pictures = numpy.empty((total, size, size, 3), numpy.uint8)
    for start in range(0, total, BLOCK):
        draw = numpy_generator(seed, NAME, size, start)
        pictures[start : start + BLOCK] = _pictures(labels[start : start + BLOCK], size, draw)
    names = tuple(class_name(label) for label in range(classes))
    return Decoded(NAME, torch.from_numpy(pictures).permute(0, 3, 1, 2), labels, names), parts


def _kind(label: int) -> tuple[int, float]:
    pair = label // 2
    if pair < len(KINDS):
        return KINDS[pair]
    beyond = pair - len(KINDS)
    return (7 + beyond // 2, 0.45 if beyond % 2 else 0.0)


def _pictures(labels: NDArray[numpy.int64], size: int, draw: numpy.random.Generator) -> NDArray[numpy.uint8]:
    """Return uint8 `[B, size, size, 3]` for a block of labels."""
    count = len(labels)
    radius = draw.uniform(0.25, 0.42, count)
    room = 0.5 - radius
    inside = _inside(
        labels,
        size,
        radius=radius,
        centre=0.5 + draw.uniform(-1, 1, (2, count)) * room,
        angle=draw.uniform(0, 2 * numpy.pi, count),
    )
    ground, colour = draw.uniform(0, 1, (2, count, 3))
    # Ground and shape differ by at least 0.35 in one channel, or the shape could not be seen.
    channel = draw.integers(0, 3, count)
    rows = numpy.arange(count)
    near = numpy.abs(ground[rows, channel] - colour[rows, channel]) < 0.35
    colour[rows, channel] = numpy.where(near, (ground[rows, channel] + 0.5) % 1, colour[rows, channel])
    place = numpy.arange(size) / size
    waves = draw.uniform(-3, 3, (2, count, 1, 1))
    phase = draw.uniform(0, 2 * numpy.pi, (count, 1, 1))
    stripes = numpy.sin(2 * numpy.pi * (waves[0] * place[:, None] + waves[1] * place) + phase)
    texture = 0.08 * stripes[..., None] + 0.04 * draw.standard_normal((count, size, size, 3), dtype=numpy.float32)
    mixed = ground[:, None, None] * (1 - inside[..., None]) + colour[:, None, None] * inside[..., None] + texture
    pixels: NDArray[numpy.uint8] = numpy.rint(255 * mixed.clip(0, 1)).astype(numpy.uint8)
    return pixels


def _inside(labels: NDArray[numpy.int64], size: int, *, radius: Floats, centre: Floats, angle: Floats) -> Floats:
    """Return which share of each pixel lies inside the shape, `[B, size, size]`, in polar coordinates around it."""
    kinds = [_kind(int(label)) for label in labels]

    def column(values: Any) -> NDArray[numpy.float32]:
        return numpy.asarray(values, dtype=numpy.float32)[:, None, None]

    points, notch = (column(values) for values in zip(*kinds, strict=True))
    fine = ((numpy.arange(size * OVERSAMPLING) + 0.5) / (size * OVERSAMPLING)).astype(numpy.float32)
    y = fine[None, :, None] - column(centre[0])
    x = fine[None, None, :] - column(centre[1])
    distance = numpy.sqrt(x * x + y * y) / column(radius)
    # The angle from the middle between two corners, and the border's distance in that direction.
    sector = 2 * numpy.float32(numpy.pi) / numpy.maximum(points, 1)
    offset = numpy.abs((numpy.arctan2(y, x) + column(angle)) % sector - sector / 2)
    polygon = numpy.cos(sector / 2) / numpy.cos(offset)
    star = 1 - notch * (1 - 2 * offset / sector)
    border = numpy.where(points == 0, 1.0, numpy.where(notch > 0, star, polygon))
    outline = (labels % 2 == 1)[:, None, None] & (distance < 0.6 * border)
    covered = (distance < border) & ~outline
    fine_size = (len(labels), size, OVERSAMPLING, size, OVERSAMPLING)
    return numpy.asarray(covered.reshape(fine_size).mean(axis=(2, 4)))
