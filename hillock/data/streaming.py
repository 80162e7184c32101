"""Data sets too large to download: pictures decoded as they arrive, shared between processes, never stored.

Through `datasets` in streaming mode (an `IterableDataset`): the order is that of the source, shuffled within a buffer;
each process reads its own shards or, where there are fewer shards than processes, its own share of the examples.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy
import torch
from torch import Tensor

from hillock.data import hub, parquet
from hillock.data.augmentation import Augmentation
from hillock.data.batches import Batches
from hillock.data.dataset import DataSet, SkippedPicture, Split
from hillock.data.listing import part_named
from hillock.data.pictures import BrokenPictureError, decode
from hillock.data.statistics import colour_statistics, mean_picture
from hillock.errors import DataError, UsageError
from hillock.randomness import derive_seed

__all__ = ["Stream", "stream"]

# Pictures read at the start to measure means and colours; the standard error of a channel's mean over 1,024 photos is
# about 0.005 on the scale 0 to 1.
SAMPLED = 1024
# Examples shuffled among each other.
BUFFER = 4096


class Stream:
    """Batches from a streamed data set.

    * `sample`: a data set of the first pictures: class names, statistics, and something to look at. Its test part is
      empty.
    * `pictures`: how many there are, where the source says so.
    * `skipped`: the broken pictures met so far; a stream cannot know them beforehand, so it leaves them out.
    """

    def __init__(
        self, examples: Any, columns: tuple[str, str], sample: DataSet, stored: int, *, pictures: int | None = None
    ) -> None:
        self._examples, self._columns, self._stored = examples, columns, stored
        self.sample, self.pictures = sample, pictures
        self.skipped: list[SkippedPicture] = []

    def epoch(
        self,
        epoch: int,
        batch_size: int,
        *,
        seed: int = 0,
        augmentation: Augmentation | None = None,
        rank: int = 0,
        world_size: int = 1,
        buffer: int = BUFFER,
        shuffled: bool = True,
        channels_last: bool = False,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield `(inputs float32 [B, C, H, W], targets int64 [B])`: full batches of one process's share.

        `batch_size` is the process's own. The order and the variation follow (seed, epoch) for a given source and
        `world_size`; a stream cannot start in the middle except by reading up to there.
        """
        from datasets.distributed import split_dataset_by_node

        examples = self._examples
        if shuffled:
            examples = examples.shuffle(seed=derive_seed(seed, "stream", epoch) % 2**32, buffer_size=buffer)
        if world_size > 1:
            examples = split_dataset_by_node(examples, rank=rank, world_size=world_size)
        decoded = self._decoded(iter(examples))
        for step in itertools.count():
            chosen = list(itertools.islice(decoded, batch_size))
            if len(chosen) < batch_size and (shuffled or not chosen):
                return
            split = _split(chosen)
            batches = Batches(
                split,
                len(chosen),
                seed=seed,
                dataset=self.sample,
                augmentation=augmentation,
                channels_last=channels_last,
            )
            # Each process must draw its own variation, hence the rank in the step.
            yield batches.in_order(epoch=epoch, step=step * world_size + rank)

    def _decoded(self, examples: Iterator[dict[str, Any]]) -> Iterator[tuple[numpy.typing.NDArray[numpy.uint8], int]]:
        image, label = self._columns

        def read(numbered: tuple[int, dict[str, Any]]) -> tuple[Any, int]:
            number, example = numbered
            value = example[image]
            try:
                encoded = value["bytes"] if value["bytes"] is not None else Path(value["path"])
                return decode(encoded, self._stored, self.sample.channels), example[label]
            except BrokenPictureError as error:
                return SkippedPicture(f"example {number}", str(error)), -1

        with ThreadPoolExecutor(thread_name_prefix="hillock-stream") as pool:
            numbered = enumerate(examples)
            while chunk := list(itertools.islice(numbered, 64)):
                for pixels, label_value in pool.map(read, chunk):
                    if isinstance(pixels, SkippedPicture):
                        self.skipped.append(pixels)
                    else:
                        yield pixels, int(label_value)


def stream(
    source: str | Path,
    *,
    part: str = "train",
    image_size: int,
    channels: int = 3,
    short_side: int | None = None,
    mean: Literal["channel", "pixel"] = "channel",
    limit: int | None = None,
) -> Stream:
    """Open a hub data set (`owner/name`) or Parquet files for streaming.

    * `part`: the part to read. `image_size`, `short_side`, `mean`: as for `hillock.data.load`. `channels`: 1 or 3.
    * `limit`: read the first so many pictures only.

    >>> stream("uoft-cs/cifar10", image_size=32)  # doctest: +SKIP
    """
    import datasets

    stored = short_side or image_size
    if stored < image_size:
        raise UsageError(f"a short side of at least the image size, {image_size}", got=str(short_side))
    examples, pictures = _opened(source, part)
    if limit is not None:
        examples, pictures = examples.take(limit), min(limit, pictures or limit)
    if examples.features is None:
        examples = examples._resolve_features()
    image, label, class_names = hub.roles(examples.features, str(source))
    examples = examples.cast_column(image, datasets.Image(decode=False))
    nothing = torch.empty(0, channels, stored, stored, dtype=torch.uint8)
    empty = Split(nothing, torch.empty(0, dtype=torch.int64))
    blank = DataSet(
        name=Path(source).stem,
        train=empty,
        validation=None,
        test=empty,
        class_names=class_names,
        channels=channels,
        image_size=image_size,
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
        fingerprint="streamed",
        short_side=short_side,
    )
    first = list(Stream(examples.take(SAMPLED), (image, label), blank, stored)._decoded(iter(examples.take(SAMPLED))))
    if not first:
        raise DataError("at least one readable picture", got=f"none among the first {SAMPLED} of {source}")
    return Stream(examples, (image, label), _measured(blank, _split(first), mean), stored, pictures=pictures)


def _opened(source: str | Path, part: str) -> tuple[Any, int | None]:
    """Return the examples of a part and their number where the source says it."""
    import datasets
    import pyarrow.parquet

    path = Path(source).expanduser()
    if path.exists():
        files = parquet.files_of(path)
        chosen = [str(file) for file in files if part_named(file.name) in (part, None) or len(files) == 1]
        if not chosen:
            raise DataError(f"Parquet files of the part {part}", got=f"none in {path}")
        examples = datasets.load_dataset("parquet", data_files={part: chosen}, split=part, streaming=True)
        return examples, sum(pyarrow.parquet.read_metadata(file).num_rows for file in chosen)
    name, _, configuration = str(source).partition(":")
    try:
        examples = datasets.load_dataset(name, configuration or None, split=part, streaming=True)
        known = (examples.info.splits or {}).get(part)
        return examples, None if known is None else known.num_examples
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise DataError(f"a data set of the hub called {source}", got=f"{type(error).__name__}: {error}") from error


def _split(decoded: list[tuple[numpy.typing.NDArray[numpy.uint8], int]]) -> Split:
    pixels = numpy.stack([picture for picture, _ in decoded])
    labels = torch.tensor([label for _, label in decoded], dtype=torch.int64)
    return Split(torch.from_numpy(pixels).permute(0, 3, 1, 2), labels)


def _measured(blank: DataSet, sample: Split, mean: str) -> DataSet:
    colours = colour_statistics(sample.images)
    border = (sample.images.shape[2] - blank.image_size) // 2
    centre = sample.images[:, :, border : border + blank.image_size, border : border + blank.image_size]
    content = hashlib.sha256("\x1f".join([blank.name, *blank.class_names]).encode())
    content.update(sample.images.permute(0, 2, 3, 1).contiguous().numpy().data)
    content.update(sample.labels.numpy().astype("<i8").tobytes())
    return dataclasses.replace(
        blank,
        train=sample,
        mean=colours.mean,
        std=colours.std,
        colour_covariance=colours.covariance,
        fingerprint=content.hexdigest(),
        mean_picture=mean_picture(centre) if mean == "pixel" else None,
    )
