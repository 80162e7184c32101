"""The range test: what follows from sweeps, and sweeps of a small network."""

from __future__ import annotations

import math

import pytest

from hillock.data import DataSet
from hillock.errors import UsageError
from hillock.training import Recipe
from hillock.training.range_test import RangeTest, Sweep, range_test


def sweep(seed: int, lowest: float) -> Sweep:
    rates = (lowest / 10, lowest, lowest * 10)
    return Sweep(seed, rates, (2.0, 1.0, 1.9))


def test_the_suggestion_is_a_tenth_of_the_lowest_and_the_interval_students() -> None:
    result = RangeTest((sweep(0, 1.0), sweep(1, 0.1), sweep(2, 0.01)))
    assert result.suggestion == pytest.approx(0.01)
    # mean of log10 is -2, standard deviation 1, t(0.975, 2) = 4.302653 (any table), half width t / sqrt(3)
    half = 10 ** (4.302653 / math.sqrt(3))
    assert result.interval == pytest.approx((0.01 / half, 0.01 * half), rel=1e-5)


def test_one_seed_has_no_interval() -> None:
    assert RangeTest((sweep(0, 1.0),)).interval == (0.0, math.inf)


def test_a_sweep_finds_where_the_loss_climbs_away(small: Recipe, digits: DataSet) -> None:
    result = range_test(small, seeds=(0, 1), low=1e-4, high=1e3, steps=60, dataset=digits)
    for one in result.sweeps:
        assert 1e-3 < one.lowest <= one.limit < 1e3  # not at either end
        assert one.losses[-1] <= 2 * min(one.losses)
    assert result.sweeps[0].losses != result.sweeps[1].losses
    low, high = result.interval
    assert low <= result.suggestion <= high  # equal where both seeds stop at the same rate
    assert 1e-3 < result.suggestion < 1  # 0.1 is what the recipes have for such networks


def test_a_sweep_repeats(small: Recipe, digits: DataSet) -> None:
    one, other = (range_test(small, seeds=(3,), steps=20, dataset=digits) for _ in range(2))
    assert one == other


def test_wrong_bounds_are_refused(small: Recipe) -> None:
    with pytest.raises(UsageError, match="0 < low < high"):
        range_test(small, low=1.0, high=0.1)
