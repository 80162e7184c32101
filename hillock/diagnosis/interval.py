"""Intervals for shares and slopes: how much a finite probe can claim."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy
from scipy import stats

__all__ = [
    "crossed_mean",
    "line_interval",
    "mean_interval",
    "samples_needed",
    "share_interval",
    "share_upper_bound",
    "slope_interval",
    "t_quantile",
]


def share_interval(hits: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the two-sided Clopper-Pearson interval for a share, exact for every sample size.

    **Source** Clopper & Pearson 1934, Biometrika 26:404-413.

    >>> low, high = share_interval(0, 300)
    >>> low, round(high, 4)
    (0.0, 0.0122)
    """
    assert 0 <= hits <= trials
    if trials == 0:
        return 0.0, 1.0
    tail = (1 - confidence) / 2
    low = 0.0 if hits == 0 else float(stats.beta.ppf(tail, hits, trials - hits + 1))
    high = 1.0 if hits == trials else float(stats.beta.ppf(1 - tail, hits + 1, trials - hits))
    return low, high


def share_upper_bound(hits: int, trials: int, confidence: float = 0.95) -> float:
    """Return the one-sided upper Clopper-Pearson bound for a share: 0 hits in N trials bound it by about 3/N.

    >>> round(share_upper_bound(0, 299), 4)
    0.01
    """
    assert 0 <= hits <= trials
    if trials == 0 or hits == trials:
        return 1.0
    return float(stats.beta.ppf(confidence, hits + 1, trials - hits))


def samples_needed(share: float, confidence: float = 0.95) -> int:
    """Return how many samples without a single hit it takes to claim that the true share is below `share`.

    >>> samples_needed(0.01)
    299
    """
    return math.ceil(math.log(1 - confidence) / math.log1p(-share))


def slope_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """Return slope, low and high of a straight line through `values` at 0, 1, 2, ..., as `line_interval` does.

    >>> slope, low, high = slope_interval([0.0, 1.0, 2.1, 2.9])
    >>> low < 1 < high
    True
    """
    return line_interval(range(len(values)), values, confidence)


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Return the mean and the half width of its t interval; infinite for a single value.

    >>> mean_interval([1.0, 1.0, 1.0])
    (1.0, 0.0)
    """
    numbers = numpy.asarray(values, dtype=float)
    count = len(numbers)
    if count < 2:
        return float(numbers.mean()), math.inf
    spread = float(numbers.std(ddof=1))
    return float(numbers.mean()), t_quantile((1 + confidence) / 2, count - 1) * spread / math.sqrt(count)


def crossed_mean(values: numpy.ndarray) -> tuple[float, float]:
    """Return the mean of [trainings, pictures] and its standard error where both are a sample of many.

    What all trainings do to the same few pictures is no evidence about others: the variance over trainings and that
    over pictures are added, which counts the part that belongs to neither alone twice (to the safe side).

    >>> crossed_mean(numpy.array([[0.0, 1.0], [0.0, 1.0]]))
    (0.5, 0.5)
    """
    trainings, pictures = values.mean(1), values.mean(0)
    variance = trainings.var(ddof=1) / len(trainings) + pictures.var(ddof=1) / len(pictures)
    return float(values.mean()), math.sqrt(float(variance))


def line_interval(
    places: Sequence[float], values: Sequence[float], confidence: float = 0.95
) -> tuple[float, float, float]:
    """Return slope, low and high of a straight line through `values` at `places` (least squares, t interval).

    Fewer than three values have no spread to estimate: the interval is infinite.

    >>> slope, low, high = line_interval([0, 10, 30], [1.0, 2.0, 4.0])
    >>> round(slope, 6), round(high - low, 6)
    (0.1, 0.0)
    """
    heights = numpy.asarray(values, dtype=float)
    count = len(heights)
    if count < 2:
        return 0.0, -math.inf, math.inf
    centred = numpy.asarray(places, dtype=float) - float(numpy.mean(places))
    spread = float((centred**2).sum())
    slope = float((centred * heights).sum() / spread)
    if count < 3:
        return slope, -math.inf, math.inf
    residuals = heights - heights.mean() - slope * centred
    error = math.sqrt(float((residuals**2).sum()) / (count - 2) / spread)
    half = t_quantile((1 + confidence) / 2, count - 2) * error
    return slope, slope - half, slope + half


@functools.cache
def t_quantile(share: float, freedom: int) -> float:
    """Return the quantile of Student's t distribution."""
    return float(stats.t.ppf(share, freedom))
