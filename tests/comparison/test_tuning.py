"""Tuning is equal for all arms, looks at validation pictures alone, and uses seeds that are then forgotten."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy
import pytest

from hillock.comparison import Comparison, Range, Study, Tuning, compare, tuning
from hillock.errors import UnknownNameError, UsageError

MakeStudy = Callable[..., Study]
RATE = "optimizer.learning_rate"


def test_points_fill_the_range_evenly_whatever_their_number() -> None:
    """On the logarithmic scale no gap is much wider than even spacing would leave."""
    for count in (3, 8, 20):
        values = [point[RATE] for point in tuning.points({RATE: Range(low=0.001, high=1.0)}, count)]
        assert values[0] == pytest.approx(0.0316, rel=0.01), "the middle first"
        shares = numpy.sort(numpy.log10(values) / 3 + 1)
        gaps = numpy.diff(numpy.concatenate([[0.0], shares, [1.0]]))
        assert gaps.max() < 2.7 / (count + 1)


def test_points_of_two_settings_fill_the_square() -> None:
    ranges = {RATE: Range(low=0.01, high=1.0), "optimizer.weight_decay": Range(low=1e-5, high=1e-3)}
    shares = numpy.log10([[p[RATE], p["optimizer.weight_decay"]] for p in tuning.points(ranges, 64)])
    shares = (shares - [-2, -5]) / 2
    boxes = {(int(4 * a), int(4 * b)) for a, b in shares}
    assert len(boxes) == 16, "each sixteenth of the square is visited"


def test_the_best_by_validation_is_chosen_with_fresh_seeds(
    make_study: MakeStudy, folder: Path, fake: ModuleType
) -> None:
    made: list[tuple[str, str, int, float]] = []

    def noting(recipe, place, progress, /):  # type: ignore[no-untyped-def]
        made.append((place.parts[len(folder.parts)], recipe.activation, recipe.seed, recipe.optimizer.learning_rate))
        if made[-1][0] == "tuning":
            assert recipe.validation_share == 0.2
        else:
            assert recipe.validation_share is None
        return fake.train(recipe, place, progress)

    study = make_study("relu", "gelu", seeds=3, tuning=Tuning(trials=5, seeds=2))
    result = compare(study, out=folder, workers=0, runner=noting)
    stages = {stage: [row for row in made if row[0] == stage] for stage in ("tuning", "runs", "tuned")}
    # relu's best rate is the highest tried, so both arms get 5 // 2 more; each trial has 2 seeds.
    assert len(stages["tuning"]) == 2 * (5 + 2) * 2
    rates = {arm: [row[3] for row in stages["tuning"] if row[1] == arm] for arm in ("relu", "gelu")}
    assert rates["relu"] == rates["gelu"], "the same settings for every arm"
    assert not {row[2] for row in stages["tuning"]} & {row[2] for row in stages["tuned"]}, "fresh seeds"
    assert {row[3] for row in stages["runs"]} == {0.1}
    assert result.choices["gelu"].settings[RATE] == 0.1
    assert result.choices["relu"].settings[RATE] == min(rates["relu"], key=lambda rate: abs(numpy.log10(rate)))
    assert {row[3] for row in stages["tuned"] if row[1] == "relu"} == {result.choices["relu"].settings[RATE]}
    assert not result.choices["gelu"].at_border


def test_tuned_and_untuned_stand_side_by_side(make_study: MakeStudy, folder: Path, fake: ModuleType) -> None:
    study = make_study("relu", "gelu", seeds=3, tuning=Tuning(trials=4))
    result = compare(study, out=folder, workers=0, runner=fake.train)
    relu, gelu = result.arms
    assert relu.mean == pytest.approx(result.untuned_arms[0].mean - 0.01), "what tuning did for it"
    assert gelu.mean == result.untuned_arms[1].mean
    again = Comparison.load(folder)
    assert again == result
    assert again.choices == result.choices
    resumed = compare(study, out=folder, workers=0, runner=None, resume=True)
    assert resumed.arms == result.arms


def test_without_tuning_there_is_nothing_untuned(make_study: MakeStudy, folder: Path, fake: ModuleType) -> None:
    result = compare(make_study(seeds=2), out=folder, workers=0, runner=fake.train)
    assert result.choices == {}
    assert result.untuned_arms == ()


def test_wrong_tuning_is_refused(make_study: MakeStudy) -> None:
    with pytest.raises(UsageError, match="a range from low to high"):
        Range(low=1.0, high=0.1)
    with pytest.raises(UnknownNameError, match="rate"):
        make_study(tuning=Tuning(space={"optimizer.rate": Range(low=0.1, high=1.0)}))
    with pytest.raises(UsageError, match="trials"):
        Tuning(trials=0)
