"""The evaluation's numbers against cases that can be worked out, and its intervals against simulation."""

from __future__ import annotations

import numpy
import pytest
import torch

from hillock.data import Preprocessing
from hillock.errors import UsageError
from hillock.networks import network
from hillock.training import evaluation
from hillock.training.evaluation import judge
from hillock.training.predicting import probabilities


def one_hot(said: list[int], classes: int, chance: float = 1.0) -> torch.Tensor:
    rest = (1 - chance) / (classes - 1)
    likely = torch.full((len(said), classes), rest)
    likely[range(len(said)), said] = chance
    return likely


def test_confusion_and_rates() -> None:
    result = judge(one_hot([0, 0, 1, 2, 2, 2], 3, 0.8), torch.tensor([0, 1, 1, 2, 2, 0]), ("a", "b", "c"))
    assert result.confusion == ((1, 0, 1), (1, 1, 0), (0, 0, 2))
    assert result.error == pytest.approx(2 / 6)
    assert [entry.recall for entry in result.classes] == [0.5, 0.5, 1.0]
    assert [entry.precision for entry in result.classes] == pytest.approx([0.5, 1.0, 2 / 3])
    assert result.majority_error == pytest.approx(4 / 6)
    assert result.top5_error is None
    assert result.loss == pytest.approx(-(4 * numpy.log(0.8) + 2 * numpy.log(0.1)) / 6)
    assert set(result.most_confused()) == {("a", "c", 1), ("b", "a", 1)}


def test_a_class_without_pictures_has_no_rate() -> None:
    result = judge(one_hot([0, 0], 3), torch.tensor([0, 0]), ("a", "b", "c"))
    assert result.classes[1].recall is None
    assert result.classes[2].precision is None


def test_top5() -> None:
    likely = torch.arange(7.0).expand(4, 7).softmax(1)
    result = judge(likely, torch.tensor([6, 2, 1, 0]), tuple("abcdefg"))
    assert result.error == 0.75
    assert result.top5_error == 0.5


def test_calibration_error_of_known_gaps() -> None:
    # Eighty per cent sure, half right: a gap of 0.3 in the only bin.
    result = judge(one_hot([0] * 100, 2, 0.8), torch.tensor([0, 1] * 50), ("a", "b"))
    assert result.calibration_error == pytest.approx(0.3, abs=1e-6)
    assert result.calibration_interval[0] < 0.3 < result.calibration_interval[1]
    # Three standard errors of a share of 100 pictures are 0.15.
    assert result.calibration_interval[1] - result.calibration_interval[0] < 0.3
    assert len(result.bins) == 1


def test_a_calibrated_network_has_a_small_calibration_error() -> None:
    draw = numpy.random.default_rng(0)
    chance = draw.uniform(0.5, 1, 20_000)
    likely = torch.from_numpy(numpy.stack([chance, 1 - chance], 1))
    truth = torch.from_numpy((draw.random(20_000) > chance).astype(numpy.int64))
    assert judge(likely, truth, ("a", "b")).calibration_error < 0.015


def test_intervals_cover_the_truth_as_often_as_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "RESAMPLES", 2)  # the calibration error is not looked at here
    draw = numpy.random.default_rng(1)
    covered = 0
    for _ in range(200):
        truth = torch.from_numpy((draw.random(60) < 0.3).astype(numpy.int64))
        low, high = judge(one_hot([0] * 60, 2), truth, ("a", "b")).error_interval
        covered += low <= 0.3 <= high
    assert covered >= 186  # 95 % or more in truth; fewer than 93 % of 200 would be a fault


def test_nothing_to_judge() -> None:
    with pytest.raises(UsageError, match="at least one picture"):
        judge(torch.empty(0, 2), torch.empty(0, dtype=torch.int64), ("a", "b"))


def test_scales_are_for_networks_that_take_any_size() -> None:
    pictures = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    preprocessing = Preprocessing(("a", "b"), 3, 16, (0.5,) * 3, (0.25,) * 3)
    whole = network("resnet8", num_classes=2, image_size=16)
    likely = probabilities(whole, pictures, preprocessing, view="multi_scale")
    assert torch.allclose(likely.sum(1), torch.ones(3))
    with pytest.raises(UsageError, match=r"any size for these views.*--views mirrored"):
        probabilities(network("mlp", num_classes=2, image_size=16), pictures, preprocessing, view="multi_scale")
