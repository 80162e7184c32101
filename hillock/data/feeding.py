"""What a training reads, whatever the data are: pictures in memory or on disk, streamed pictures, or text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from torch import Tensor

from hillock.data.augmentation import Augmentation
from hillock.data.batches import Batches
from hillock.data.dataset import DataSet
from hillock.data.streamed import StreamBatches, StreamedData
from hillock.data.text import TextData, TokenBatches
from hillock.errors import UsageError

__all__ = ["Feed", "TrainingData", "evaluated_parts", "evaluation_batches", "training_batches", "training_size"]

TrainingData = DataSet | StreamedData | TextData


class Feed(Protocol):
    """Training batches: a pure function of seed, epoch and step."""

    channels_last: bool

    def __len__(self) -> int:
        """Return the number of steps in an epoch."""

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield `(inputs, targets)` of an epoch from `start_step` on."""


def training_size(data: TrainingData) -> int:
    """Return how many examples (pictures, windows of text) an epoch has."""
    if isinstance(data, TextData):
        return max(0, len(data.train) - 1) // data.length
    return data.pictures if isinstance(data, StreamedData) else len(data.train)


def training_batches(
    data: TrainingData,
    batch_size: int,
    *,
    seed: int,
    augmentation: Augmentation | None,
    rank: int = 0,
    world_size: int = 1,
) -> Feed:
    """Return full batches of the training part; each of `world_size` processes gets its share of each."""
    if isinstance(data, TextData):
        if augmentation is not None:
            raise UsageError("no augmentation for text", got="one", instead='augmentation = "none"')
        return TokenBatches(
            data.train, batch_size, length=data.length, seed=seed, rank=rank, world_size=world_size, drop_last=True
        )
    if isinstance(data, StreamedData):
        return StreamBatches(data, batch_size, seed=seed, augmentation=augmentation, rank=rank, world_size=world_size)
    return Batches(
        data.train,
        batch_size,
        seed=seed,
        dataset=data,
        augmentation=augmentation,
        drop_last=True,
        rank=rank,
        world_size=world_size,
    )


def evaluated_parts(data: TrainingData) -> tuple[str, ...]:
    """Return the parts besides the training part, in the order validation, test."""
    if isinstance(data, StreamedData):
        return ("test",)
    if isinstance(data, TextData):
        return ("validation", "test") if len(data.validation) else ("test",)
    return tuple(name for name in data.splits if name != "train")


def evaluation_batches(
    data: TrainingData, part: str, batch_size: int, *, rank: int = 0, world_size: int = 1, channels_last: bool = False
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield everything in a part once, unvaried; each process its share."""
    if isinstance(data, TextData):
        tokens = getattr(data, part)
        length = min(data.length, len(tokens) - 1)
        yield from TokenBatches(tokens, batch_size, length=length, rank=rank, world_size=world_size).evaluation()
    elif isinstance(data, StreamedData):
        yield from data.test.epoch(
            0, batch_size, shuffled=False, channels_last=channels_last, rank=rank, world_size=world_size
        )
    else:
        batches = Batches(
            data.splits[part],
            batch_size,
            dataset=data,
            channels_last=channels_last,
            rank=rank,
            world_size=world_size,
        )
        yield from batches.evaluation()
