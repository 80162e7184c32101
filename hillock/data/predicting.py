"""Picture files in, network inputs out, prepared the way a training prepared its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy
import torch
from torch import Tensor

from hillock.data.dataset import DataSet, Preprocessing, SkippedPicture
from hillock.data.pictures import BrokenPictureError, decode

__all__ = ["Pictures", "load_pictures"]


class Pictures(NamedTuple):
    """Pictures read for a network.

    * `inputs`: float32 `[B, C, H, W]`. `places`: which of the given paths each of them is.
    * `broken`: the pictures that cannot be read, with the reason.
    """

    inputs: Tensor
    places: tuple[int, ...]
    broken: tuple[SkippedPicture, ...]


def load_pictures(paths: Sequence[str | Path], like: DataSet | Preprocessing) -> Pictures:
    """Read picture files as a network's inputs. `like` is the data set, or its preprocessing, of the training."""
    preprocessing = like.preprocessing if isinstance(like, DataSet) else like
    size, channels = preprocessing.decoded_size, preprocessing.channels
    border = (size - preprocessing.image_size) // 2
    inside = slice(border, border + preprocessing.image_size)
    read: list[numpy.typing.NDArray[numpy.uint8]] = []
    places: list[int] = []
    broken: list[SkippedPicture] = []
    for place, path in enumerate(paths):
        try:
            read.append(decode(Path(path), size, channels)[inside, inside])
            places.append(place)
        except BrokenPictureError as error:
            broken.append(SkippedPicture(str(path), str(error)))
    side = preprocessing.image_size
    pixels = numpy.stack(read) if read else numpy.empty((0, side, side, channels), numpy.uint8)
    inputs = preprocessing.normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2))
    return Pictures(inputs.contiguous(), tuple(places), tuple(broken))
