"""Batches: shuffled, augmented, normalised inputs as a pure function of the seed, the epoch and the step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy
import torch
from torch import Tensor

from hillock.data.augmentation import Augmentation, Draws, centre, draw
from hillock.data.dataset import DataSet, Split
from hillock.data.lighting import colour_shifts
from hillock.data.windows import cut
from hillock.data.workers import Workers
from hillock.errors import UsageError
from hillock.randomness import numpy_generator

__all__ = ["Batches"]

Batch = tuple[Tensor, Tensor]


class Batches:
    """The training and evaluation batches of one part of a data set.

    * `batch_size`: pictures in a *global* batch; of `world_size` processes, `rank` gets its share of each, so that two
      processes with the same batch size see together exactly what one sees alone.
    * `dataset`: where the normalisation and the image size come from.
    * `drop_last`: leave out a last batch that is not full. A last batch with fewer pictures than processes is always
      left out, so that every process makes the same number of steps.
    * `channels_last`: lay the inputs out with the channels innermost (the values are the same).
    * `reuse`: write the inputs into this many buffers in turn instead of new memory: a batch's inputs are overwritten
      `reuse` batches later. Large inputs come about twice as fast; 0 means new memory for every batch.

    >>> from hillock import data
    >>> digits = data.load("digits")
    >>> batches = data.Batches(digits.train, 128, seed=0, dataset=digits)
    >>> inputs, targets = next(batches.epoch(0))
    >>> inputs.shape, targets.shape
    (torch.Size([128, 1, 8, 8]), torch.Size([128]))
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        *,
        seed: int = 0,
        dataset: DataSet,
        augmentation: Augmentation | None = None,
        drop_last: bool = False,
        rank: int = 0,
        world_size: int = 1,
        channels_last: bool = False,
        reuse: int = 0,
    ) -> None:
        if batch_size < 1:
            raise UsageError("a batch size of at least 1", got=str(batch_size))
        assert 0 <= rank < world_size <= batch_size, (rank, world_size, batch_size)
        self.split = split
        self.batch_size = batch_size
        self.seed = seed
        self.dataset = dataset
        self.augmentation = augmentation or Augmentation(crop="centre")
        self.drop_last = drop_last
        self.rank = rank
        self.world_size = world_size
        self.channels_last = channels_last
        self._buffers = _Buffers(reuse)
        self._workers = Workers()
        _check_sizes(split, dataset, self.augmentation)
        # [N, H, W, C]: a row of a window is then one run of bytes.
        self._pixels = numpy.ascontiguousarray(split.images.permute(0, 2, 3, 1).numpy())
        self._labels = split.labels.numpy()
        scale = 1 / (255 * torch.tensor(dataset.std, dtype=torch.float64))
        self._scale = scale
        self._mean = torch.tensor(dataset.mean, dtype=torch.float64)
        self._fill = numpy.rint(255 * numpy.array(dataset.mean)).astype(numpy.uint8)

    def __len__(self) -> int:
        """Return the number of steps in an epoch."""
        full, rest = divmod(len(self.split), self.batch_size)
        return full + (rest >= self.world_size and not self.drop_last)

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        """Yield `(inputs float32 [B, C, H, W], targets int64 [B])` of an epoch, from `start_step` on."""
        order = numpy_generator(self.seed, "shuffle", epoch).permutation(len(self.split))
        for step in range(start_step, len(self)):
            rows = order[step * self.batch_size : (step + 1) * self.batch_size]
            share = self._share(len(rows))
            yield self._make(rows[share], self._draw(rows, epoch, step)[share])

    def in_order(self, epoch: int = 0, step: int = 0) -> Batch:
        """Return all pictures in their order as one augmented batch (to look at, and for streams)."""
        rows = numpy.arange(len(self.split))
        return self._make(rows, self._draw(rows, epoch, step))

    def global_size(self, step: int) -> int:
        """Return the pictures in a step over all processes (to weigh the shares of an uneven last batch)."""
        return min(self.batch_size, len(self.split) - step * self.batch_size)

    def evaluation(self) -> Iterator[Batch]:
        """Yield every picture once, in order, unvaried: the central window. Each process gets its share."""
        for start in range(0, len(self.split), self.batch_size):
            rows = numpy.arange(start, min(start + self.batch_size, len(self.split)))
            rows = rows[self._share(len(rows))]
            if len(rows):
                draws = centre(len(rows), stored=self._pixels.shape[1], image_size=self.dataset.image_size)
                yield self._make(rows, draws, augmented=False)

    def _draw(self, rows: numpy.typing.NDArray[numpy.int64], epoch: int, step: int) -> Draws:
        return draw(
            self.augmentation,
            rows,
            stored=self._pixels.shape[1],
            image_size=self.dataset.image_size,
            channels=self.dataset.channels,
            seed=self.seed,
            epoch=epoch,
            step=step,
        )

    def _share(self, count: int) -> slice:
        return slice(count * self.rank // self.world_size, count * (self.rank + 1) // self.world_size)

    def _make(self, rows: numpy.typing.NDArray[numpy.int64], draws: Draws, *, augmented: bool = True) -> Batch:
        padding = self.augmentation.crop_padding if augmented else 0
        reflect = self.augmentation.padding_fill == "reflect"
        fill = numpy.zeros_like(self._fill) if self.augmentation.padding_fill == "black" else self._fill
        pictures = cut(
            self._pixels,
            rows,
            draws,
            size=self.dataset.image_size,
            padding=padding,
            fill=None if reflect else fill,
            workers=self._workers,
        )
        inputs = self._normalised(pictures, draws)
        if draws.hole_row is not None and draws.hole_column is not None:
            _punch(inputs, draws.hole_row, draws.hole_column, self.augmentation.cutout)
        inputs = inputs.permute(0, 3, 1, 2)
        if not self.channels_last:
            inputs = self._buffers.take(inputs.shape, "planes").copy_(inputs)
        return inputs, torch.from_numpy(self._labels[rows])

    def _normalised(self, pictures: numpy.typing.NDArray[numpy.uint8], draws: Draws) -> Tensor:
        """Return `(picture / 255 - mean + shift) / std` for uint8 `[B, H, W, C]`, one multiply-add a row."""
        count, height, width, channels = pictures.shape
        scale = self._scale
        offset = -255 * self._mean.expand(count, channels)
        if self.dataset.mean_picture is not None:
            offset = torch.zeros(count, channels, dtype=torch.float64)
        if draws.lighting is not None:
            shifts = colour_shifts(self.augmentation, self.dataset.colour_covariance, draws.lighting)
            offset = offset + 255 * torch.from_numpy(shifts)
            if self.augmentation.lighting == "source":
                scale = scale / 1.1  # keeps the spread of the inputs about what it is without the shifts
        # The channels of a row of pixels lie side by side, so scale and offset are repeated along the row: the inner
        # loop is then long enough for vector instructions.
        scales = scale.repeat(width).float()
        offsets = (scale * offset).repeat(1, width).float()
        inputs = self._buffers.take((count, height, width * channels), "lines")
        lines = torch.from_numpy(pictures).view(count, height, width * channels)
        # Two passes of torch over everything: fewer, longer operations beat blocks that stay in the cache (whole 5 to
        # 16 ms, blocks of one picture 10 to 26, NumPy in two threads 27 to 41; 128 photos, two busy cores).
        inputs.copy_(lines)
        torch.addcmul(offsets[:, None], inputs, scales, out=inputs)
        if self.dataset.mean_picture is not None:
            mean = self.dataset.mean_picture.permute(1, 2, 0).double() * 255 * scale
            inputs -= mean.float().reshape(height, width * channels)
        return inputs.view(count, height, width, channels)


class _Buffers:
    """Memory for batches: new every time, or a few buffers in turn."""

    def __init__(self, reuse: int) -> None:
        assert reuse >= 0, reuse
        self._reuse = reuse
        self._kept: dict[tuple[str, int], Tensor] = {}
        self._turn: dict[str, int] = {}

    def take(self, shape: Sequence[int], purpose: str) -> Tensor:
        if not self._reuse:
            return torch.empty(*shape)
        turn = self._turn[purpose] = (self._turn.get(purpose, -1) + 1) % self._reuse
        needed = math.prod(shape)
        kept = self._kept.get((purpose, turn))
        if kept is None or kept.numel() < needed:
            kept = self._kept[purpose, turn] = torch.empty(needed)
        return kept[:needed].view(*shape)


def _punch(inputs: Tensor, rows: numpy.typing.NDArray[numpy.int64], columns: object, side: int) -> None:
    """Set a square around each centre to zero (the mean), clipped at the edges."""
    size = inputs.shape[1]
    assert isinstance(columns, numpy.ndarray)
    for picture, row, column in zip(inputs.numpy(), rows.tolist(), columns.tolist(), strict=True):
        top, left = row - side // 2, column - side // 2
        picture[max(0, top) : min(size, top + side), max(0, left) : min(size, left + side)] = 0


def _check_sizes(split: Split, dataset: DataSet, augmentation: Augmentation) -> None:
    stored = split.images.shape[2]
    assert split.images.shape[3] == stored, split.images.shape
    if augmentation.crop_padding and stored != dataset.image_size:
        raise UsageError(
            "crop_padding = 0 where pictures are stored larger than the network sees them",
            got=f"{augmentation.crop_padding} with pictures of {stored} pixels for {dataset.image_size}",
        )
    if augmentation.scale_jitter is not None and augmentation.scale_jitter[0] < dataset.image_size:
        raise UsageError(
            f"scale_jitter from at least the image size, {dataset.image_size} pixels",
            got=str(augmentation.scale_jitter),
        )
