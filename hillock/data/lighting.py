"""PCA lighting: colour shifts along the principal components of the training pictures' colours.

Krizhevsky, Sutskever and Hinton (2012), section 4.1, add to every pixel `sum_k p_k a_k l_k`, with `p_k`, `l_k` the
eigenvectors and eigenvalues of the 3x3 covariance of the pixels and `a_k` normal with standard deviation 0.1, drawn
once per picture. Read literally on pixels from 0 to 255 that is a shift of a thousand grey levels; two readings make
sense and both are offered: `paper` takes the formula with pixels on 0..1 (about 5 grey levels on photos), `source` is
the authors' code, which multiplies by the standard deviations, `sqrt(l_k)` (about 12 grey levels).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy
from numpy.typing import NDArray

from hillock.data.augmentation import Augmentation

__all__ = ["colour_shifts", "principal_components"]

Floats = NDArray[numpy.float64]


def principal_components(covariance: Sequence[Sequence[float]]) -> tuple[Floats, Floats]:
    """Return eigenvalues, descending, and eigenvectors as columns, each with its largest entry positive.

    >>> values, vectors = principal_components([[2.0, 0.0], [0.0, 8.0]])
    >>> values.tolist(), abs(vectors).tolist()
    ([8.0, 2.0], [[0.0, 1.0], [1.0, 0.0]])
    """
    values, vectors = numpy.linalg.eigh(numpy.array(covariance, dtype=numpy.float64))
    values, vectors = values[::-1].clip(min=0), vectors[:, ::-1]
    # The sign of an eigenvector is arbitrary; fixed here so that every machine shifts the same way.
    largest = vectors[numpy.abs(vectors).argmax(0), numpy.arange(vectors.shape[1])]
    return values, vectors * numpy.sign(largest)


def colour_shifts(augmentation: Augmentation, covariance: Sequence[Sequence[float]], normals: Floats) -> Floats:
    """Return the shift `[B, C]` of each picture's channels, on the scale 0 to 1, from standard normals `[B, C]`."""
    values, vectors = principal_components(covariance)
    spread = values if augmentation.lighting == "paper" else numpy.sqrt(values)
    shifts: Floats = (augmentation.lighting_strength * normals * spread) @ vectors.T
    return shifts
