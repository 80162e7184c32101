"""Everything about a training in progress that is not a tensor of the network or the optimiser, as one value."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch
from torch import Tensor

from hillock.training.schedule import ScheduleState

__all__ = ["Sums", "TrainingState"]


@dataclasses.dataclass
class Sums:
    """What happened since the last evaluation."""

    loss: Tensor
    """Sum over pictures, of this process."""
    wrong: Tensor
    count: int = 0
    """Pictures in `loss` and `wrong`."""
    timed: int = 0
    """Pictures, of all processes, in `seconds`; a session's first step (compiling, warming up) is left out."""
    seconds: float = 0.0
    waited: float = 0.0
    """Seconds of these spent waiting for data."""

    @classmethod
    def empty(cls, device: torch.device) -> Sums:
        """Return sums over nothing, on the device that will add to them."""
        zero = torch.zeros((), dtype=torch.float64, device=device)
        return cls(zero, zero.clone())

    def take_time(self, pictures: int, seconds: float, waited: float) -> None:
        """Add one step: its pictures over all processes, its seconds, and how many of these were waiting."""
        self.timed += pictures
        self.seconds += seconds
        self.waited += waited

    @property
    def images_per_second(self) -> float | None:
        """Pictures of all processes a second of training, or None before anything was timed."""
        return self.timed / self.seconds if self.seconds else None

    @property
    def waiting_share(self) -> float | None:
        """The share of the training time spent waiting for the next batch."""
        return self.waited / self.seconds if self.seconds else None


@dataclasses.dataclass
class TrainingState:
    """Where a training stands. Random draws are functions of seed, epoch and step, so no generator is kept."""

    sums: Sums
    step: int = 0
    """Updates made."""
    evaluated_step: int = 0
    """The step of the latest evaluation: a checkpoint may fall between a step and the evaluation due after it."""
    learning_rate: float = 0.0
    """That of the latest update, before group scales."""
    schedule: ScheduleState = dataclasses.field(default_factory=ScheduleState)
    recent_errors: list[float] = dataclasses.field(default_factory=list)
    """Training errors of the latest steps, while a warm-up waits for them."""
    best_error: float = math.inf
    """The lowest validation error so far."""
    evaluations_since_best: int = 0
    retries: int = 0
    """How often the run was rolled back."""
    rate_scale: float = 1.0
    """What rolling back has left of the learning rate."""
    seconds: float = 0.0
    """Training and evaluating so far, over all sessions."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values and tensors, for a checkpoint."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainingState:
        """Read back what `to_dict` gave."""
        own = {**values, "sums": Sums(**values["sums"]), "schedule": ScheduleState(**values["schedule"])}
        return cls(**own)
