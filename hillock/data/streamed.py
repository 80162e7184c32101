"""A streamed source as a data set to train on: `stream:owner/name`, `stream:FOLDER` of Parquet files."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from hillock.data.augmentation import Augmentation
from hillock.data.dataset import DataSet
from hillock.data.streaming import Stream, stream
from hillock.errors import DataError, UsageError
from hillock.randomness import derive_seed

__all__ = ["StreamBatches", "StreamedData", "open_streamed"]

PREFIX = "stream:"


@dataclass(frozen=True, eq=False)
class StreamedData:
    """Pictures that are decoded as they arrive and never kept.

    * `sample`: the first training pictures as a data set: class names, statistics, what observers look at.
    * `pictures`: training pictures that count as an epoch.
    """

    train: Stream
    test: Stream
    pictures: int

    @property
    def sample(self) -> DataSet:
        return self.train.sample

    @property
    def name(self) -> str:
        return self.sample.name

    @property
    def fingerprint(self) -> str:
        return self.sample.fingerprint

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.sample.class_names

    @property
    def image_size(self) -> int:
        return self.sample.image_size

    def facts(self) -> dict[str, Any]:
        """Return a JSON-ready mapping, as `DataSet.facts` does; what was measured was measured on the sample."""
        note = f"streamed: class counts, mean and deviation are those of the first {len(self.sample.train)} pictures"
        sizes = {"train": self.pictures, "test": self.test.pictures}
        return self.sample.facts() | {"kind": "stream", "sizes": sizes, "notes": [note]}


class StreamBatches:
    """Training batches from a stream: a global batch is shared evenly, each process reading its own pictures.

    An epoch has as many steps as the pictures allow; where the source gives fewer (broken pictures are left out, shards
    are uneven), it is read again in another order, so that every process makes the same number of steps. To start in
    the middle of an epoch, the pictures before are read and thrown away.
    """

    def __init__(
        self,
        data: StreamedData,
        batch_size: int,
        *,
        seed: int,
        augmentation: Augmentation | None,
        rank: int,
        world_size: int,
    ) -> None:
        self.channels_last = False
        self._data, self._seed, self._augmentation = data, seed, augmentation
        self._batch_size, self._rank, self._world_size = batch_size, rank, world_size

    def __len__(self) -> int:
        """Return the number of steps in an epoch."""
        return max(1, self._data.pictures // self._batch_size)

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield `(inputs, targets)` of this process's share of an epoch, from `start_step` on."""
        yield from itertools.islice(self._endless(epoch), start_step, len(self))

    def _endless(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        for reading in itertools.count():
            batches = self._data.train.epoch(
                epoch,
                self._batch_size // self._world_size,
                seed=derive_seed(self._seed, "reading", reading) if reading else self._seed,
                augmentation=self._augmentation,
                rank=self._rank,
                world_size=self._world_size,
                channels_last=self.channels_last,
            )
            first = next(batches, None)
            if first is None:
                raise DataError(f"a batch of {self._batch_size} readable pictures", got="fewer", instead="--batch-size")
            yield first
            yield from batches


def open_streamed(
    source: str, *, image_size: int | None, limit: int | None, augmentation: Augmentation | None
) -> StreamedData:
    """Open `stream:SOURCE`: its train part, and its test part (else its validation part).

    * `limit`: pictures that count as an epoch, and test pictures at most; needed where the source does not say how
      many it has.
    """
    if image_size is None:
        raise UsageError("an image size for streamed pictures", got="none", instead="--image-size 32")
    variation = augmentation or Augmentation()
    where = source.removeprefix(PREFIX)
    options: dict[str, Any] = {"image_size": image_size, "short_side": variation.short_side}
    train = stream(where, mean=variation.mean, **options)
    try:
        test = stream(where, part="test", limit=limit, **options)
    except DataError:
        test = stream(where, part="validation", limit=limit, **options)
    if test.sample.class_names != train.sample.class_names:
        raise DataError("the same classes in training and test", got=f"others in the test part of {where}")
    if train.pictures is None and limit is None:
        raise DataError(
            f"a number of pictures an epoch, {where} does not say how many it has", instead="--set limit=50000"
        )
    pictures = min(size for size in (train.pictures, limit) if size is not None)
    # What the test part's own sample says of means must not be used: a network sees both parts the same way.
    test.sample = train.sample
    return StreamedData(train=train, test=test, pictures=pictures)
