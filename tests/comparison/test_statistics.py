"""The statistics against known values, brute force, simulation and laws."""

from __future__ import annotations

import itertools
import math

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hillock.comparison import statistics
from hillock.comparison.statistics import Interval
from hillock.randomness import numpy_generator

scores = st.lists(st.floats(-1, 1, allow_nan=False).map(lambda x: round(x, 6)), min_size=2, max_size=9)


def test_the_interval_is_that_of_scipy() -> None:
    values = [0.013, -0.004, 0.021, 0.008, 0.017, 0.002]
    for level in (0.8, 0.95, 0.99):
        expected = stats.ttest_rel(values, [0.0] * 6).confidence_interval(level)
        assert statistics.paired_t_interval(values, level) == pytest.approx(tuple(expected), rel=1e-12)


@pytest.mark.parametrize(("seeds", "in_spreads"), [(3, 2.48), (5, 1.24), (8, 0.84), (10, 0.72)])
def test_half_widths_of_the_published_table(seeds: int, in_spreads: float) -> None:
    """t(0.975; n-1)/√n, computed by hand from a t table: 4.303/√3, 2.776/√5, 2.365/√8, 2.262/√10."""
    values = numpy_generator(0, "half width", seeds).normal(size=seeds)
    values = (values - values.mean()) / values.std(ddof=1)
    assert statistics.paired_t_interval(values).high == pytest.approx(in_spreads, abs=0.006)


def test_one_seed_says_nothing() -> None:
    assert statistics.paired_t_interval([0.1]) == (-math.inf, math.inf)
    assert statistics.verdict(statistics.paired_t_interval([0.1]), 0.01) == "undecided"
    assert statistics.sign_flip_p([0.1]) == 1.0
    assert statistics.seeds_needed([0.1], 0.01) is None


def brute_force_p(values: list[float]) -> float:
    """Fractions are exact, so nothing can be lost to rounding here."""
    from fractions import Fraction

    exact = [Fraction(value) for value in values]
    observed = abs(sum(exact))
    patterns = list(itertools.product((1, -1), repeat=len(values)))
    hits = sum(abs(sum(s * v for s, v in zip(signs, exact, strict=True))) >= observed for signs in patterns)
    return hits / len(patterns)


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=9))
def test_the_sign_flip_p_is_the_share_of_all_patterns(values: list[int]) -> None:
    assert statistics.sign_flip_p([value / 7 for value in values]) == pytest.approx(
        brute_force_p([float(value) for value in values]), abs=1e-12
    )


@pytest.mark.parametrize("seeds", [1, 2, 3, 5, 6, 8, 10, 20])
def test_the_smallest_p_is_two_over_two_to_the_n(seeds: int) -> None:
    assert statistics.sign_flip_p([1.0] * seeds) == statistics.smallest_p(seeds) == min(1.0, 2 / 2**seeds)


def test_fewer_than_six_seeds_never_reach_five_percent() -> None:
    assert statistics.smallest_p(5) > 0.05 >= statistics.smallest_p(6)


def test_random_patterns_agree_with_exact_enumeration(monkeypatch: pytest.MonkeyPatch) -> None:
    values = numpy_generator(0, "sign flip agreement").normal(0.3, 1, size=14)
    exact = statistics.sign_flip_p(values)
    monkeypatch.setattr(statistics, "_EXACT_UP_TO", 10)
    # 2^18 patterns: a standard error of at most 0.001.
    assert statistics.sign_flip_p(values) == pytest.approx(exact, abs=0.005)


@given(scores, st.floats(0.1, 10))
def test_sign_flip_does_not_depend_on_sign_order_or_unit(values: list[float], factor: float) -> None:
    p = statistics.sign_flip_p(values)
    assert 0 < p <= 1
    assert statistics.sign_flip_p([-value for value in values]) == p
    assert statistics.sign_flip_p(sorted(values)) == p
    assert statistics.sign_flip_p([factor * value for value in values]) == pytest.approx(p, abs=1e-12)


def test_holm_by_hand() -> None:
    """The example worked in the usual textbooks: sorted p times (m, m-1, ...), never falling."""
    assert statistics.holm([0.01, 0.02, 0.03, 0.04]) == pytest.approx([0.04, 0.06, 0.06, 0.06])
    assert statistics.holm([0.04, 0.01]) == pytest.approx([0.04, 0.02])
    assert statistics.holm([0.9, 0.8]) == [1.0, 1.0]
    assert statistics.holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_raw_and_bonferroni_and_keeps_the_order(p_values: list[float]) -> None:
    adjusted = statistics.holm(p_values)
    for raw, held in zip(p_values, adjusted, strict=True):
        assert raw <= held <= min(1.0, raw * len(p_values)) + 1e-12
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    assert [adjusted[index] for index in order] == sorted(adjusted)


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (-0.05, -0.01, "better"),
        (0.01, 0.05, "worse"),
        (-0.001, 0.0015, "equivalent"),
        (-0.05, 0.001, "undecided"),
        (-0.05, -0.001, "undecided"),  # below zero, but perhaps too little to matter
        (0.001, 0.01, "undecided"),
        (-math.inf, math.inf, "undecided"),
    ],
)
def test_the_four_words(low: float, high: float, word: str) -> None:
    assert statistics.verdict(Interval(low, high), rope=0.002) == word
    mirrored = {"better": "worse", "worse": "better"}.get(word, word)
    assert statistics.verdict(Interval(low, high), rope=0.002, lower_is_better=False) == mirrored


@given(scores, st.floats(0, 0.5))
def test_arm_and_reference_exchanged_exchange_the_words(values: list[float], rope: float) -> None:
    word = statistics.verdict(statistics.paired_t_interval(values), rope)
    other = statistics.verdict(statistics.paired_t_interval([-value for value in values]), rope)
    assert other == {"better": "worse", "worse": "better"}.get(word, word)


@given(scores, st.floats(0.001, 0.5))
def test_a_higher_level_never_decides_more(values: list[float], rope: float) -> None:
    lax = statistics.verdict(statistics.paired_t_interval(values, 0.9), rope)
    strict = statistics.verdict(statistics.paired_t_interval(values, 0.99), rope)
    assert strict in (lax, "undecided")


def test_clopper_pearson_known_values() -> None:
    assert statistics.clopper_pearson(0, 300).high == pytest.approx(1 - 0.025 ** (1 / 300))
    assert statistics.clopper_pearson(300, 300).low == pytest.approx(0.025 ** (1 / 300))
    for count, total in [(3, 10), (1, 6), (57, 100)]:
        expected = stats.binomtest(count, total).proportion_ci(0.95, method="exact")
        assert statistics.clopper_pearson(count, total) == pytest.approx((expected.low, expected.high), rel=1e-6)
    assert statistics.clopper_pearson(0, 0) == (0.0, 1.0)


def simulated(seeds: int, mean: float, studies: int = 4000) -> numpy.ndarray:
    return numpy_generator(1, "studies", seeds, round(mean * 1000)).normal(mean, 1.0, size=(studies, seeds))


@pytest.mark.parametrize("seeds", [3, 6])
def test_intervals_cover_the_truth_as_often_as_they_say(seeds: int) -> None:
    intervals = [statistics.paired_t_interval(study) for study in simulated(seeds, 0.3)]
    covered = sum(low <= 0.3 <= high for low, high in intervals)
    low, high = statistics.clopper_pearson(covered, len(intervals), 0.999)
    assert low <= 0.95 <= high


def test_false_calls_are_rarer_than_the_level_allows() -> None:
    """No difference at all: "better" or "worse" in at most 5 % of studies, p below 0.05 in at most 5 %."""
    studies = simulated(6, 0.0, 2000)
    called = sum(
        statistics.verdict(statistics.paired_t_interval(study), 0.0) in ("better", "worse") for study in studies
    )
    small = sum(statistics.sign_flip_p(study) <= 0.05 for study in studies)
    for count in (called, small):
        assert statistics.clopper_pearson(count, len(studies), 0.999).low <= 0.05


def test_a_difference_of_the_size_of_the_rope_is_rarely_called() -> None:
    """At the border of the ROPE each wrong word has at most its tail's probability, 2.5 %."""
    words = [statistics.verdict(statistics.paired_t_interval(study), 0.5) for study in simulated(8, 0.5, 2000)]
    assert statistics.clopper_pearson(words.count("worse"), 2000, 0.999).low <= 0.025
    assert statistics.clopper_pearson(words.count("equivalent"), 2000, 0.999).low <= 0.025


def test_simultaneous_intervals_hold_together() -> None:
    """Five arms share one reference, which correlates them by one half; all five intervals cover in 95 % of studies."""
    draw = numpy_generator(2, "family")
    level = statistics.simultaneous_level(0.95, 5)
    studies = 1500
    together = 0
    for _ in range(studies):
        reference = draw.normal(size=6)
        arms = draw.normal(size=(5, 6)) - reference
        together += all(low <= 0 <= high for low, high in (statistics.paired_t_interval(arm, level) for arm in arms))
    assert statistics.clopper_pearson(together, studies, 0.999).high >= 0.95


@pytest.mark.parametrize(("mean", "rope"), [(1.0, 0.0), (0.6, 0.1), (0.0, 0.8), (0.2, 0.9)])
def test_the_seeds_needed_reach_the_power_promised(mean: float, rope: float) -> None:
    """Plan from a sample with exactly this mean and spread, then simulate that many seeds."""
    base = numpy.array([-1.0, 1.0, -1.0, 1.0]) / numpy.std([-1, 1, -1, 1], ddof=1)
    needed = statistics.seeds_needed(base + mean, rope)
    assert needed is not None
    wanted = "worse" if mean > rope else "equivalent"

    def reached(seeds: int) -> float:
        studies = simulated(seeds, mean, 3000)
        return sum(statistics.verdict(statistics.paired_t_interval(s), rope) == wanted for s in studies) / len(studies)

    assert reached(needed) > 0.77
    assert reached(max(2, needed - 2)) < 0.83


@pytest.mark.parametrize(("seeds", "effect"), [(3, 3.3), (5, 1.7), (8, 1.2), (10, 1.0), (15, 0.78), (20, 0.66)])
def test_the_published_table_of_smallest_effects(seeds: int, effect: float) -> None:
    """The paired-t effects found with 80 % power, in units of the spread (t tables, noncentral t)."""
    base = numpy.array([-1.0, 1.0]) / math.sqrt(2)
    needed = statistics.seeds_needed(base + effect, 0.0)
    assert needed in (seeds, seeds - 1, seeds + 1)


def test_no_number_of_seeds_decides_a_difference_on_the_border() -> None:
    assert statistics.seeds_needed([0.1, 0.3], 0.2) is None
    assert statistics.seeds_needed([0.2001, 0.2, 0.1999, 0.5, -0.1], 0.2, most=1000) is None
    assert statistics.seeds_needed([0.5, 0.5], 0.2) == 2


def test_the_sampling_floor_is_mcnemars() -> None:
    """For one seed: SE² = (b + c - (b - c)²/N) / (N (N - 1)) with b and c the two kinds of disagreement."""
    draw = numpy_generator(3, "pictures")
    first, second = (draw.random((2, 400)) < numpy.array([[0.9], [0.85]])).astype(float)
    b = ((first == 1) & (second == 0)).sum()
    c = ((first == 0) & (second == 1)).sum()
    expected = math.sqrt((b + c - (b - c) ** 2 / 400) / (400 * 399))
    assert statistics.sampling_standard_error(first[None], second[None]) == pytest.approx(expected)
    assert statistics.sampling_standard_error(first[None], first[None]) == 0.0


def test_a_run_that_misses_the_target_counts_as_longest() -> None:
    assert statistics.median_time_to_target([1.0, 2.0, None]) == 2.0
    assert statistics.median_time_to_target([1.0, None, None]) == math.inf
    assert statistics.median_time_to_target([1.0, None]) == math.inf


def test_rank_probabilities() -> None:
    clear = numpy.array([[1.0, 1.1, 0.9], [2.0, 2.1, 1.9], [3.0, 3.1, 2.9]])
    assert statistics.rank_probabilities(clear) == pytest.approx(numpy.eye(3))
    assert statistics.rank_probabilities(clear, lower_is_better=False) == pytest.approx(numpy.eye(3)[::-1])
    tied = numpy.array([[1.0, 2.0], [1.0, 2.0]])
    assert statistics.rank_probabilities(tied) == pytest.approx(numpy.full((2, 2), 0.5))
