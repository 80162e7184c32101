"""Small trainings that every test here can afford: digits, a perceptron, one thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from hillock import data
from hillock.data import DataSet
from hillock.training import Recipe, Run


@pytest.fixture(scope="session")
def digits() -> DataSet:
    """240 training pictures of digits, a validation part and a test part."""
    return data.load("digits", limit=240, validation_share=0.2)


@pytest.fixture
def small() -> Recipe:
    """Two epochs of six steps."""
    return Recipe(
        network="mlp", network_options={"width": 16}, limit=240, validation_share=0.2, batch_size=32, epochs=2
    )


@pytest.fixture
def convolutional(small: Recipe) -> Recipe:
    """The same with batch norm and convolutions."""
    return small.replace(network="resnet8", network_options={"width": 4})


@pytest.fixture
def same() -> Callable[[Run, Run], bool]:
    """Whether two runs ended with the same weights and buffers, bit for bit."""

    def same(first: Run, second: Run) -> bool:
        one, other = (run.load_model().state_dict() for run in (first, second))
        return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)

    return same


class Watching:
    """An observer that does something at a step."""

    def __init__(self, step: int = -1, act: Callable[[Any], None] = lambda context: None) -> None:
        self.step, self.act = step, act
        self.steps: list[int] = []
        self.losses: list[Tensor] = []
        self.calls: list[str] = []

    def begin(self, context: Any) -> None:
        self.calls.append("begin")

    def after_step(self, context: Any) -> None:
        self.steps.append(context.step)
        self.losses.append(context.last_loss.clone())
        if context.step == self.step:
            self.act(context)

    def after_evaluation(self, context: Any, line: Any) -> None:
        self.calls.append("evaluation")

    def end(self, context: Any) -> None:
        self.calls.append("end")


@pytest.fixture
def watching() -> type[Watching]:
    return Watching
