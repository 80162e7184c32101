"""How good a trained network is: error, confusion, each class, calibration; every rate with its interval."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hillock.data import DataSet, Split
from hillock.errors import UsageError
from hillock.randomness import numpy_generator
from hillock.training.predicting import probabilities

__all__ = ["ClassResult", "Evaluation", "evaluate_model", "judge"]

# Bins of confidence for the calibration error (Guo et al. 2017, arXiv:1706.04599, use 15).
CALIBRATION_BINS = 15
CONFIDENCE = 0.95
# Resamples of the pictures for the calibration error's interval; the ends then vary by about 2 % of its width.
RESAMPLES = 1000


@dataclasses.dataclass(frozen=True)
class ClassResult:
    """One class: how many of its pictures are found, and how many of those called so are right."""

    name: str
    pictures: int
    recall: float | None
    recall_interval: tuple[float, float] | None
    precision: float | None
    precision_interval: tuple[float, float] | None


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The verdict over one part of a data set. Rates are shares 0 to 1; intervals cover 95 %.

    * `error`, `top5_error` (None with five classes or fewer): exact binomial intervals (Clopper and Pearson 1934).
    * `loss`: mean cross-entropy in nats. `majority_error`: of always saying the most frequent class.
    * `calibration_error`: mean gap between confidence and accuracy over 15 bins, weighted by their pictures; its
      interval is the central 95 % of 1,000 resamples of the pictures, shifted by the bias they show.
    * `bins`: (lowest confidence, pictures, mean confidence, accuracy) of each bin that has pictures.
    * `confusion`: rows are true classes, columns predicted ones.
    """

    pictures: int
    error: float
    error_interval: tuple[float, float]
    top5_error: float | None
    top5_interval: tuple[float, float] | None
    loss: float
    majority_error: float
    calibration_error: float
    calibration_interval: tuple[float, float]
    bins: tuple[tuple[float, int, float, float], ...]
    confusion: tuple[tuple[int, ...], ...]
    classes: tuple[ClassResult, ...]

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def most_confused(self, count: int = 3) -> list[tuple[str, str, int]]:
        """Return (true class, taken for, pictures) of the most frequent mistakes."""
        names = [result.name for result in self.classes]
        mistakes = [
            (names[truth], names[said], number)
            for truth, row in enumerate(self.confusion)
            for said, number in enumerate(row)
            if truth != said and number
        ]
        return sorted(mistakes, key=lambda mistake: -mistake[2])[:count]


def evaluate_model(
    model: nn.Module, dataset: DataSet, split: Split, *, view: str = "centre", device: torch.device | str = "cpu"
) -> Evaluation:
    """Evaluate a network on one part of a data set, with the views of `hillock.data.views`."""
    likely = probabilities(model, split.images, dataset.preprocessing, view=view, device=device)
    return judge(likely, split.labels, dataset.class_names)


def judge(likely: Tensor, labels: Tensor, class_names: tuple[str, ...]) -> Evaluation:
    """Return the evaluation of class probabilities `[N, classes]` against labels `[N]`.

    >>> result = judge(torch.tensor([[0.9, 0.1], [0.4, 0.6]]), torch.tensor([0, 0]), ("cat", "dog"))
    >>> result.error, result.confusion, result.most_confused()
    (0.5, ((1, 1), (0, 0)), [('cat', 'dog', 1)])
    """
    if len(labels) == 0:
        raise UsageError("at least one picture to evaluate", got="none")
    chance, said = (values.numpy() for values in likely.double().max(1))
    truth = labels.numpy()
    right = said == truth
    count, classes = len(truth), len(class_names)
    confusion = numpy.zeros((classes, classes), dtype=numpy.int64)
    numpy.add.at(confusion, (truth, said), 1)
    top5 = None
    if classes > 5:
        top5 = int((likely.topk(5, dim=1).indices != labels[:, None]).all(1).sum())
    calibration, interval, bins = _calibration(chance, right)
    own = likely.double().gather(1, labels[:, None]).clamp_min(torch.finfo(torch.float32).tiny)
    return Evaluation(
        pictures=count,
        error=float(1 - right.mean()),
        error_interval=_binomial(count - int(right.sum()), count),
        top5_error=None if top5 is None else top5 / count,
        top5_interval=None if top5 is None else _binomial(top5, count),
        loss=float(-own.log().mean()),
        majority_error=1 - float(numpy.bincount(truth, minlength=classes).max()) / count,
        calibration_error=calibration,
        calibration_interval=interval,
        bins=bins,
        confusion=tuple(tuple(int(number) for number in row) for row in confusion),
        classes=tuple(_class_result(name, confusion, place) for place, name in enumerate(class_names)),
    )


def _class_result(name: str, confusion: NDArray[numpy.int64], place: int) -> ClassResult:
    found = int(confusion[place, place])
    pictures, called = int(confusion[place].sum()), int(confusion[:, place].sum())
    return ClassResult(
        name=name,
        pictures=pictures,
        recall=found / pictures if pictures else None,
        recall_interval=_binomial(found, pictures) if pictures else None,
        precision=found / called if called else None,
        precision_interval=_binomial(found, called) if called else None,
    )


def _binomial(successes: int, trials: int) -> tuple[float, float]:
    """Return the exact (Clopper-Pearson) interval of a share."""
    from scipy.stats import binomtest

    interval = binomtest(successes, trials).proportion_ci(CONFIDENCE, method="exact")
    return float(interval.low), float(interval.high)


def _calibration(
    confidence: NDArray[numpy.float64], right: NDArray[numpy.bool_]
) -> tuple[float, tuple[float, float], tuple[tuple[float, int, float, float], ...]]:
    """Return the expected calibration error, its bootstrap interval, and the bins."""
    place = numpy.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gap = confidence - right  # summed over a bin and divided by N: the bin's weighted gap

    def error(weights: NDArray[Any]) -> float:
        sums = numpy.bincount(place, weights=weights * gap, minlength=CALIBRATION_BINS)
        return float(numpy.abs(sums).sum() / weights.sum())

    count = len(confidence)
    measured = error(numpy.ones(count))
    draw = numpy_generator(0, "calibration bootstrap")
    resampled = numpy.array(
        [error(numpy.bincount(draw.integers(0, count, count), minlength=count)) for _ in range(RESAMPLES)]
    )
    # Resampling adds noise to every bin and absolute values only add it up: without the shift the interval could lie
    # wholly above the measured value.
    low, high = numpy.quantile(resampled - (resampled.mean() - measured), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    bins = tuple(
        (
            number / CALIBRATION_BINS,
            int((place == number).sum()),
            float(confidence[place == number].mean()),
            float(right[place == number].mean()),
        )
        for number in range(CALIBRATION_BINS)
        if (place == number).any()
    )
    return measured, (max(0.0, float(low)), float(high)), bins
