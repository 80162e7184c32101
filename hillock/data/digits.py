"""The embedded data set: 1,797 handwritten digits of 8x8 pixels that come with scikit-learn."""

from __future__ import annotations

import numpy
import torch
from PIL import Image

from hillock.data.assembling import Decoded
from hillock.data.pictures import square

__all__ = ["NAME", "read"]

NAME = "digits"


def read(image_size: int | None) -> tuple[Decoded, dict[str, range]]:
    """Return the digits, 8 pixels a side or resized to `image_size`; they have no official parts.

    The scans count ink from 0 to 16 on each cell of 4x4 pixels (NIST form; UCI repository, "Optical recognition of
    handwritten digits", Alpaydin and Kaynak 1998); 16 becomes 255.
    """
    from sklearn.datasets import load_digits  # half a second to import: only where it is used

    bunch = load_digits()
    pictures = numpy.rint(bunch.images * (255 / 16)).astype(numpy.uint8)
    if image_size not in (None, pictures.shape[1]):
        assert image_size is not None
        pictures = numpy.stack([numpy.asarray(square(Image.fromarray(picture), image_size)) for picture in pictures])
    labels = bunch.target.astype(numpy.int64)
    return Decoded(NAME, torch.from_numpy(pictures)[:, None], labels, tuple("0123456789")), {"all": range(len(labels))}
