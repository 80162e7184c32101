"""What a few paired seeds support, as pure functions of numbers.

Everywhere below, `differences` holds one number per seed: the arm's score minus the reference's score for that seed.
The verdict compares an interval for the mean difference with the region of practical equivalence (ROPE), the range of
differences too small to matter, fixed before anything is trained.

Sources: Student's t interval for paired differences; the sign-flip (randomisation) test of Fisher (1935); Holm (1979),
A simple sequentially rejective multiple test procedure; Clopper and Pearson (1934); the interval-against-ROPE decision
as in Kruschke (2018), Rejecting or accepting parameter values in Bayesian estimation; power of two one-sided tests as
in Schuirmann (1987).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy
from numpy.typing import NDArray
from scipy import stats

from hillock.randomness import numpy_generator

__all__ = [
    "Interval",
    "Verdict",
    "clopper_pearson",
    "holm",
    "median_time_to_target",
    "paired_t_interval",
    "rank_probabilities",
    "sampling_standard_error",
    "seeds_needed",
    "sign_flip_p",
    "simultaneous_level",
    "smallest_p",
    "verdict",
]

NumberArray = NDArray[numpy.float64]

Verdict = Literal["better", "worse", "equivalent", "undecided"]

# Exact enumeration splits the seeds into two halves of at most 20, so at most 2^20 sums are held at once (8 MB).
_EXACT_UP_TO = 40
_RANDOM_FLIPS = 1 << 18


class Interval(NamedTuple):
    """A confidence interval, in the unit of the numbers that it was computed from."""

    low: float
    high: float


def paired_t_interval(differences: Sequence[float], level: float = 0.95) -> Interval:
    """Return the paired-t confidence interval for the mean difference.

    mean ± t(1 - (1 - level)/2; n - 1) · s/√n. One seed says nothing about spread, so its interval is everything.

    >>> low, high = paired_t_interval([1.0, 2.0, 3.0])
    >>> round(low, 3), round(high, 3)
    (-0.484, 4.484)
    """
    values = _checked(differences)
    n = len(values)
    if n < 2:
        return Interval(-math.inf, math.inf)
    mean = float(values.mean())
    half_width = float(stats.t.ppf(0.5 + level / 2, n - 1) * values.std(ddof=1) / math.sqrt(n))
    return Interval(mean - half_width, mean + half_width)


def simultaneous_level(level: float, comparisons: int) -> float:
    """Return the level that each of several intervals needs so that all hold together with at least `level`.

    Bonferroni's bound, valid however the comparisons depend on each other (they share the reference's runs).

    >>> round(simultaneous_level(0.95, 5), 4)
    0.99
    """
    assert comparisons >= 1
    return 1 - (1 - level) / comparisons


def sign_flip_p(differences: Sequence[float]) -> float:
    """Return the two-sided p-value of the sign-flip test of "the arm and the reference are exchangeable".

    Under that hypothesis each seed's difference could as well have had the other sign. p is the share of all 2ⁿ sign
    patterns whose |mean| is at least the observed one. Exact up to 40 seeds; above, 2^18 seeded random patterns.
    The smallest p that n seeds can reach is 2/2ⁿ, so fewer than 6 seeds never reach 0.05.

    >>> sign_flip_p([1.0, 2.0, 3.0])
    0.25
    """
    values = _checked(differences)
    observed = abs(float(values.sum()))
    # Sums that are equal in exact arithmetic may differ by rounding; they must count as equal.
    slack = 1e-9 * float(numpy.abs(values).sum())
    if len(values) > _EXACT_UP_TO:
        return _random_sign_flip_p(values, observed - slack)
    half = len(values) // 2
    first, second = _signed_sums(values[:half]), numpy.sort(_signed_sums(values[half:]))
    at_least = len(second) - numpy.searchsorted(second, observed - slack - first, side="left")
    at_most = numpy.searchsorted(second, -(observed - slack) - first, side="right")
    if observed <= slack:
        return 1.0
    return float((at_least.sum() + at_most.sum()) / 2.0 ** len(values))


def smallest_p(seeds: int) -> float:
    """Return the smallest p-value that the sign-flip test can reach with that many seeds, 2/2ⁿ.

    >>> smallest_p(6)
    0.03125
    """
    return min(1.0, 2.0 / 2.0**seeds)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for being many (Holm's step-down method), in the order given.

    An adjusted p below 0.05 may be called significant with at most 5 % risk of any false call over the whole family.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for position, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - position) * p_values[index]))
        adjusted[index] = running
    return adjusted


def verdict(interval: Interval, rope: float, *, lower_is_better: bool = True) -> Verdict:
    """Read an interval for (arm - reference) in one of four words.

    *equivalent*: the whole interval lies inside [-rope, rope]. *better* / *worse*: the whole interval lies outside, on
    the good or the bad side. Anything else is *undecided*. With `rope` 0 nothing can be equivalent.

    >>> verdict(Interval(-0.02, -0.01), rope=0.002)
    'better'
    >>> verdict(Interval(-0.02, 0.01), rope=0.002)
    'undecided'
    """
    assert rope >= 0
    if -rope < interval.low and interval.high < rope:
        return "equivalent"
    below, above = interval.high < -rope, interval.low > rope
    if below or above:
        return "better" if below == lower_is_better else "worse"
    return "undecided"


def seeds_needed(
    differences: Sequence[float], rope: float, level: float = 0.95, power: float = 0.8, most: int = 10_000
) -> int | None:
    """Return how many seeds in all would end in a verdict with probability `power`, or None when over `most`.

    Taken at face value: as if the mean and spread seen so far were the true ones. With few seeds the spread itself is
    uncertain (n = 6: by a factor of 0.6 to 2.5), so this is a plan, not a promise. A mean outside the ROPE is powered
    to be found better or worse (noncentral t), one inside to be found equivalent (two one-sided tests).

    >>> seeds_needed([0.010, 0.012, 0.008, 0.011], rope=0.002)
    3
    """
    values = _checked(differences)
    if len(values) < 2:
        return None
    mean, spread = abs(float(values.mean())), float(values.std(ddof=1))
    if mean == rope:
        return None
    if spread == 0.0:
        return 2

    def reached(n: int) -> float:
        return _power(n, mean, spread, rope, level)

    return _smallest(lambda n: reached(n) >= power, most)


def _power(n: int, mean: float, spread: float, rope: float, level: float) -> float:
    """Return the probability that n seeds end in the verdict that a true |mean| and spread deserve."""
    critical = float(stats.t.ppf(0.5 + level / 2, n - 1))
    scale = spread / math.sqrt(n)
    if mean > rope:
        return float(stats.nct.sf(critical, n - 1, (mean - rope) / scale))
    near = float(stats.nct.sf(critical, n - 1, (rope - mean) / scale))
    far = float(stats.nct.sf(critical, n - 1, (rope + mean) / scale))
    return max(0.0, near + far - 1.0)


def _smallest(enough: Callable[[int], bool], most: int) -> int | None:
    """Return the smallest n in 2..most for which a monotone condition holds, by doubling and bisection."""
    high = 2
    while not enough(high):
        if high >= most:
            return None
        high = min(2 * high, most)
    low = high // 2 if high > 2 else 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def clopper_pearson(count: int, total: int, level: float = 0.95) -> Interval:
    """Return the exact interval for a share seen `count` times in `total`.

    >>> low, high = clopper_pearson(0, 10)
    >>> low, round(high, 3)
    (0.0, 0.308)
    """
    assert 0 <= count <= total
    if total == 0:
        return Interval(0.0, 1.0)
    tail = (1 - level) / 2
    low = 0.0 if count == 0 else float(stats.beta.ppf(tail, count, total - count + 1))
    high = 1.0 if count == total else float(stats.beta.ppf(1 - tail, count + 1, total - count))
    return Interval(low, high)


def sampling_standard_error(correct: NumberArray, reference_correct: NumberArray) -> float:
    """Return how far the mean difference would move had other test pictures been drawn, as a standard error.

    Both arrays are [seeds, pictures] of 0 and 1 with the same pictures in the same order. Only pictures on which the
    two arms disagree count, as in McNemar's test: sd over pictures of (mean over seeds of the difference) / √pictures.
    This is a floor that more seeds cannot lower.
    """
    assert correct.shape == reference_correct.shape
    per_picture = correct.mean(axis=0) - reference_correct.mean(axis=0)
    return float(per_picture.std(ddof=1) / math.sqrt(per_picture.shape[0]))


def median_time_to_target(times: Sequence[float | None]) -> float:
    """Return the median time to a target over seeds, where None marks a run that never reached it.

    A run that misses is longer than every other, not left out: with half or more of them missing the median is ∞.

    >>> median_time_to_target([3.0, None, 5.0])
    5.0
    """
    assert times
    return sorted(math.inf if time is None else time for time in times)[len(times) // 2]


def rank_probabilities(scores: NumberArray, *, lower_is_better: bool = True, draws: int = 4000) -> NumberArray:
    """Return [arms, ranks]: how often each arm takes each rank when the seeds are drawn again with replacement.

    `scores` is [arms, seeds]; seeds are drawn for all arms together, which keeps the pairing. Ties share their ranks.
    A second view, not a test: with few seeds the bootstrap is too sure of itself.
    """
    arms, seeds = scores.shape
    chosen = numpy_generator(0, "rank bootstrap", arms, seeds).integers(0, seeds, size=(draws, seeds))
    means = scores[:, chosen].mean(axis=2).T * (1.0 if lower_is_better else -1.0)
    shares = numpy.zeros((arms, arms))
    first, last = stats.rankdata(means, method="min", axis=1), stats.rankdata(means, method="max", axis=1)
    for rank in range(1, arms + 1):
        inside = (first <= rank) & (rank <= last)
        shares[:, rank - 1] = (inside / (last - first + 1)).mean(axis=0)
    return shares


def _checked(differences: Sequence[float]) -> NumberArray:
    values = numpy.asarray(differences, dtype=numpy.float64)
    assert values.ndim == 1, "one number per seed"
    assert len(values) >= 1, "at least one seed"
    assert numpy.isfinite(values).all(), "differences must be finite; count a failed training at chance"
    return values


def _signed_sums(values: NumberArray) -> NumberArray:
    """Return the 2ⁿ sums of the values with every pattern of signs."""
    sums = numpy.zeros(1)
    for value in values:
        sums = numpy.concatenate([sums + value, sums - value])
    return sums


def _random_sign_flip_p(values: NumberArray, at_least: float) -> float:
    draw = numpy_generator(0, "sign flip", len(values))
    hits = 0
    for _ in range(_RANDOM_FLIPS // 4096):
        signs = draw.integers(0, 2, size=(4096, len(values))) * 2 - 1
        hits += int((numpy.abs(signs @ values) >= at_least).sum())
    return (hits + 1) / (_RANDOM_FLIPS + 1)
