"""What looks on while a network trains: the protocol that diagnosis, TensorBoard and anybody's own code implement."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from hillock.training.recipe import Recipe

if TYPE_CHECKING:
    from hillock.data import DataSet, TextData

__all__ = ["Observer", "TrainingContext"]


@dataclasses.dataclass
class TrainingContext:
    """What an observer sees. It may read everything and must leave everything as it found it, bit for bit."""

    model: nn.Module
    """The network itself, never the compiled or distributed wrapper."""
    optimizer: torch.optim.Optimizer
    recipe: Recipe
    dataset: DataSet | TextData
    """The data; of streamed pictures the first ones, as a sample."""
    folder: Path
    loss_function: Callable[[Tensor, Tensor], Tensor]
    """(scores [B, K], targets [B]) -> mean loss."""
    autocast: Callable[[], AbstractContextManager[Any]]
    """The precision that training runs in, as a context manager."""
    device: torch.device
    steps_per_epoch: int
    total_steps: int
    step: int = 0
    """Updates made."""
    epoch: int = 0
    """Epochs finished."""
    learning_rate: float = 0.0
    """Of the latest update, before group scales."""
    last_loss: Tensor | None = None
    """Loss of the latest batch, detached."""
    last_batch: tuple[Tensor, Tensor] | None = None
    """The latest (inputs, targets), on the device."""


class Observer(Protocol):
    """Called by the loop. An observer may not change what is trained.

    With several processes only the first one's observers are called.
    """

    def begin(self, context: TrainingContext) -> None:
        """Before the first step (again after each resume; `context.step` says where)."""

    def after_step(self, context: TrainingContext) -> None:
        """After every update."""

    def after_evaluation(self, context: TrainingContext, line: Mapping[str, Any]) -> None:
        """After every evaluation, with the line just written to the record."""

    def end(self, context: TrainingContext) -> None:
        """After the last step, also when training was interrupted."""
