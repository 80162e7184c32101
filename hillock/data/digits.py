"""The embedded data set: 1,797 handwritten digits of 8x8 pixels that come with scikit-learn."""

from __future__ import annotations

import numpy
import torch

from hillock.data.splitting import Rows

__all__ = ["NAME", "read"]

NAME = "digits"


def read() -> tuple[torch.Tensor, Rows, tuple[str, ...]]:
    """Return uint8 pictures `[1797, 1, 8, 8]`, labels and class names.

    The scans count ink from 0 to 16 on each cell of 4x4 pixels (NIST form, UCI repository "Optical recognition of
    handwritten digits", Alpaydin and Kaynak 1998); 16 becomes 255.
    """
    from sklearn.datasets import load_digits  # 0.5 s to import: only where it is used

    bunch = load_digits()
    pictures = numpy.rint(bunch.images * (255 / 16)).astype(numpy.uint8)
    return torch.from_numpy(pictures)[:, None], bunch.target.astype(numpy.int64), tuple("0123456789")
