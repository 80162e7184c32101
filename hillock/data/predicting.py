"""Picture files in, network inputs out, prepared the way a training prepared its own."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy
import torch
from torch import Tensor

from hillock.data.dataset import DataSet, Preprocessing, SkippedPicture
from hillock.data.folders import pictures_below
from hillock.data.pictures import BrokenPictureError, decode
from hillock.errors import DataError

__all__ = ["Pictures", "find_pictures", "load_pictures", "read_pictures"]


class Pictures(NamedTuple):
    """Pictures read for a network.

    * `inputs`: float32 `[B, C, H, W]`, or uint8 `[B, C, S, S]` from `read_pictures`. `places`: which of the given paths
      each of them is.
    * `broken`: the pictures that cannot be read, with the reason.
    """

    inputs: Tensor
    places: tuple[int, ...]
    broken: tuple[SkippedPicture, ...]


def find_pictures(sources: Sequence[str]) -> list[Path]:
    """Return the picture files that files, folders (at any depth) and patterns (`photos/*.jpg`, `**`) stand for."""
    found: list[Path] = []
    for source in sources:
        path = Path(source)
        if path.is_dir():
            inside = [file for file, _, _ in pictures_below(path)]
            if not inside:
                raise DataError("a folder with pictures", got=source)
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            matches = sorted(match for match in glob.glob(source, recursive=True) if Path(match).is_file())
            if not matches:
                raise DataError("a picture file, a folder or a pattern that matches some", got=source)
            found += map(Path, matches)
    return list(dict.fromkeys(found))


def read_pictures(paths: Sequence[str | Path], like: DataSet | Preprocessing) -> Pictures:
    """Read picture files as uint8 squares of `decoded_size` pixels, not yet cropped or normalised."""
    preprocessing = like.preprocessing if isinstance(like, DataSet) else like
    size, channels = preprocessing.decoded_size, preprocessing.channels
    read: list[numpy.typing.NDArray[numpy.uint8]] = []
    places: list[int] = []
    broken: list[SkippedPicture] = []
    for place, path in enumerate(paths):
        try:
            read.append(decode(Path(path), size, channels))
            places.append(place)
        except BrokenPictureError as error:
            broken.append(SkippedPicture(str(path), str(error)))
    pixels = numpy.stack(read) if read else numpy.empty((0, size, size, channels), numpy.uint8)
    return Pictures(torch.from_numpy(pixels).permute(0, 3, 1, 2), tuple(places), tuple(broken))


def load_pictures(paths: Sequence[str | Path], like: DataSet | Preprocessing) -> Pictures:
    """Read picture files as a network's inputs. `like` is the data set, or its preprocessing, of the training."""
    preprocessing = like.preprocessing if isinstance(like, DataSet) else like
    read = read_pictures(paths, preprocessing)
    border = (preprocessing.decoded_size - preprocessing.image_size) // 2
    inside = slice(border, border + preprocessing.image_size)
    return read._replace(inputs=preprocessing.normalise(read.inputs[:, :, inside, inside]).contiguous())
