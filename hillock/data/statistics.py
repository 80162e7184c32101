"""Colour statistics of the training pictures: mean, spread and covariance of the channels, and the mean picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["ColourStatistics", "colour_statistics", "mean_picture"]

# Pixels converted to float64 at a time (24 MB with three channels).
BLOCK_PIXELS = 1 << 20
# Pictures measured at most; the standard error of a channel's mean is then far below one grey level.
MOST_PICTURES = 100_000


@dataclass(frozen=True)
class ColourStatistics:
    """Channel means and the covariance matrix between channels, on the scale 0 to 1."""

    mean: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviation per channel; a constant channel counts 1 so that dividing by it is harmless."""
        return tuple(
            float(row[channel]) ** 0.5 if row[channel] > 1e-12 else 1.0 for channel, row in enumerate(self.covariance)
        )


def colour_statistics(images: Tensor) -> ColourStatistics:
    """Return the statistics of uint8 pictures `[N, C, H, W]` over all pictures and pixels.

    Of more than 100,000 pictures every k-th is taken. Sums are of integers in float64, hence exact up to 2^53 and
    equal on every machine.

    >>> colour_statistics(torch.full((2, 1, 4, 4), 51, dtype=torch.uint8)).mean
    (0.2,)
    """
    chosen = images[:: -(-len(images) // MOST_PICTURES)]
    channels = images.shape[1]
    total = numpy.zeros(channels)
    products = numpy.zeros((channels, channels))
    step = max(1, BLOCK_PIXELS // (images.shape[2] * images.shape[3]))
    for start in range(0, len(chosen), step):
        pixels = chosen[start : start + step].permute(0, 2, 3, 1).reshape(-1, channels).numpy().astype(numpy.float64)
        total += pixels.sum(0)
        products += pixels.T @ pixels
    count = len(chosen) * images.shape[2] * images.shape[3]
    mean = total / count
    covariance = (products / count - numpy.outer(mean, mean)) / 255**2
    return ColourStatistics(_rounded(mean / 255), tuple(_rounded(row) for row in covariance))


def mean_picture(images: Tensor) -> Tensor:
    """Return the mean of uint8 pictures `[N, C, H, W]` pixel by pixel, float32 `[C, H, W]` on the scale 0 to 1."""
    total = torch.zeros(images.shape[1:], dtype=torch.float64)
    step = max(1, BLOCK_PIXELS // (images.shape[2] * images.shape[3]))
    for start in range(0, len(images), step):
        total += images[start : start + step].sum(0, dtype=torch.int64)
    return (total / (255 * len(images))).float().contiguous()


def _rounded(values: NDArray[numpy.float64]) -> tuple[float, ...]:
    # Eight decimals: a ten-millionth of a grey level, and short enough to read in a recipe.
    return tuple(round(float(value), 8) for value in values)
