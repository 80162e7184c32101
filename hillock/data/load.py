"""The door: a name, a folder, a file or a hub id becomes a data set."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

import numpy
import torch
from torch import Tensor

from hillock.data import digits, folders, hub, parquet, pictures
from hillock.data.augmentation import Augmentation
from hillock.data.dataset import DataSet, SkippedPicture, Split
from hillock.data.listing import Listing
from hillock.data.splitting import Rows, stratified_limit, stratified_split
from hillock.data.statistics import colour_statistics, mean_picture
from hillock.data.store import Progress, prepare
from hillock.errors import DataError, UnknownNameError, UsageError

__all__ = ["load"]

# Without an official test part this share of every class becomes one.
TEST_SHARE = 0.2
# Pictures whose headers are read to find out whether a source is grey and of one size.
PROBED = 64
# Pictures of one size up to this are taken as they are when no image size is given (CIFAR 32, MNIST 28, STL 96).
LARGEST_OWN_SIZE = 128


def load(
    source: str | Path,
    *,
    image_size: int | None = None,
    seed: int = 0,
    validation_share: float | None = None,
    limit: int | None = None,
    augmentation: Augmentation | None = None,
    broken: Literal["refuse", "skip"] = "refuse",
    cache: Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> DataSet:
    """Load a data set of pictures.

    * `source`: `digits`, a folder of class folders (below train, validation and test folders or not), a Parquet file or
      a folder of them, or the id of a hub data set (`owner/name`).
    * `image_size`: pixels a side of what the network sees; None: the pictures' own size where all have the same small
      one. Photos are resized so that their short side fits and cut to the central square.
    * `seed`: of the splits made here (not of training; leave it alone to compare trainings on the same split).
    * `validation_share`: share of the training pictures, class by class, to split off when there is no such part.
    * `limit`: at most this many pictures of each part, classes in proportion.
    * `augmentation`: its `short_side` and `mean` say how pictures are stored and which mean is subtracted.
    * `broken`: "refuse" a source with unreadable pictures, naming them, or "skip" them, noting them in the data set.
    * `cache`, `workers`, `progress`: of the prepared store, see `hillock.data.store.prepare`.

    Raises `DataError` when the source cannot be used.
    """
    if image_size is not None and image_size < 1:
        raise UsageError("an image size of at least 1 pixel", got=str(image_size))
    if validation_share is not None and not 0 < validation_share < 1:
        raise UsageError("a validation share between 0 and 1", got=str(validation_share))
    if limit is not None and limit < 1:
        raise UsageError("a limit of at least 1 picture", got=str(limit))
    augmentation = augmentation or Augmentation()
    if str(source) == digits.NAME:
        images, labels, class_names = digits.read()
        whole = {"all": range(len(labels))}
        loaded = _Loaded(digits.NAME, images, labels, class_names, whole, (), ())
    else:
        listing = _listing(source)
        size, channels = _shape(listing, image_size, augmentation)
        image_size = image_size or size
        loaded = _decoded(listing, size, channels, limit, broken, cache, workers, progress)
    return _assemble(loaded, image_size, seed, validation_share, limit, augmentation)


class _Loaded:
    """Decoded pictures of a source before they are split."""

    def __init__(
        self,
        name: str,
        images: Tensor,
        labels: Rows,
        class_names: tuple[str, ...],
        parts: dict[str, range],
        notes: tuple[str, ...],
        skipped: tuple[SkippedPicture, ...],
    ) -> None:
        self.name, self.images, self.labels, self.class_names = name, images, labels, class_names
        self.parts, self.notes, self.skipped = parts, notes, skipped


def _listing(source: str | Path) -> Listing:
    path = Path(source).expanduser()
    if path.is_dir():
        if folders.looks_like_folders(path) and not parquet.files_of(path):
            return folders.read(path)
        if parquet.files_of(path):
            return parquet.read(path)
        raise DataError("class folders of pictures, or Parquet files", got=f"neither in {path}")
    if path.is_file():
        if path.suffix != ".parquet":
            raise DataError("a Parquet file", got=str(path), instead="the folder that holds the class folders")
        return parquet.read(path)
    if hub.looks_like_hub_id(str(source)):
        return hub.read(str(source))
    if "/" in str(source) or isinstance(source, Path):
        raise DataError("a folder or file that exists", got=str(source))
    raise UnknownNameError("data set (or a folder, a Parquet file, or a hub id owner/name)", str(source), [digits.NAME])


def _shape(listing: Listing, image_size: int | None, augmentation: Augmentation) -> tuple[int, int]:
    """Return the stored pixels a side and the channels."""
    probes = numpy.unique(numpy.linspace(0, len(listing) - 1, PROBED).astype(int)).tolist()
    encoded = listing.read(probes)
    channels = 1 if all(pictures.is_grey(picture) for picture in encoded) else 3
    if image_size is None:
        sizes = {size for picture in encoded if (size := pictures.size_of(picture)) is not None}
        one = next(iter(sizes)) if len(sizes) == 1 else None
        if one is None or one[0] != one[1] or one[0] > LARGEST_OWN_SIZE:
            found = ", ".join(f"{width}x{height}" for width, height in sorted(sizes)[:3])
            raise DataError(
                f"an image size, because the pictures of {listing.name} are not all small squares of one size",
                got=f"none for pictures of {found}{' and others' if len(sizes) > 3 else ''} pixels",
                instead="--image-size 96",
            )
        image_size = one[0]
    stored = augmentation.short_side or image_size
    if stored < image_size:
        raise UsageError(f"a short side of at least the image size, {image_size}", got=str(stored))
    return stored, channels


def _decoded(
    listing: Listing,
    size: int,
    channels: int,
    limit: int | None,
    broken: str,
    cache: Path | None,
    workers: int | None,
    progress: Progress | None,
) -> _Loaded:
    rows = numpy.arange(len(listing))
    parts = listing.parts
    if limit is not None:
        chosen = {name: part.start + stratified_limit(listing.labels[part.start : part.stop], limit)
                  for name, part in parts.items()}  # fmt: skip
        rows = numpy.concatenate(list(chosen.values()))
        parts = _ranges({name: len(part) for name, part in chosen.items()})
    store, notes = prepare(
        listing, rows, size=size, channels=channels, broken=broken, cache=cache, workers=workers, progress=progress
    )
    if store.skipped_rows:
        names = ", ".join(picture.name for picture in store.skipped[:3])
        more = " and others" if len(store.skipped) > 3 else ""
        notes += (f"{len(store.skipped)} of {len(rows)} pictures cannot be read and were left out: {names}{more}",)
        gone = numpy.array(store.skipped_rows)
        parts = _ranges({name: len(part) - int(((gone >= part.start) & (gone < part.stop)).sum())
                         for name, part in parts.items()})  # fmt: skip
        rows = numpy.delete(rows, gone)
    return _Loaded(listing.name, store.images, listing.labels[rows], listing.class_names, parts, notes, store.skipped)


def _ranges(sizes: dict[str, int]) -> dict[str, range]:
    ends = numpy.cumsum([0, *sizes.values()]).tolist()
    return {name: range(ends[place], ends[place + 1]) for place, name in enumerate(sizes)}


def _assemble(
    loaded: _Loaded,
    image_size: int | None,
    seed: int,
    validation_share: float | None,
    limit: int | None,
    augmentation: Augmentation,
) -> DataSet:
    rows, notes = _parts(loaded, seed, validation_share)
    splits = {}
    for name, part in rows.items():
        chosen = part if limit is None else part[stratified_limit(loaded.labels[part], limit)]
        splits[name] = Split(_select(loaded.images, chosen), torch.from_numpy(loaded.labels[chosen]))
    train = splits["train"]
    size = image_size or train.images.shape[2]
    border = (train.images.shape[2] - size) // 2
    colours = colour_statistics(train.images)
    centre = train.images[:, :, border : border + size, border : border + size]
    return DataSet(
        name=loaded.name,
        train=train,
        validation=splits.get("validation"),
        test=splits["test"],
        class_names=loaded.class_names,
        channels=train.images.shape[1],
        image_size=size,
        mean=colours.mean,
        std=colours.std,
        colour_covariance=colours.covariance,
        fingerprint=_fingerprint(splits, loaded.class_names),
        short_side=augmentation.short_side,
        mean_picture=mean_picture(centre) if augmentation.mean == "pixel" else None,
        notes=loaded.notes + notes,
        skipped=loaded.skipped,
    ).with_imbalance_note()


def _parts(loaded: _Loaded, seed: int, validation_share: float | None) -> tuple[dict[str, Rows], tuple[str, ...]]:
    """Return the rows of train, validation (maybe) and test, and notes about the splits made here."""
    rows = {name: numpy.arange(part.start, part.stop) for name, part in loaded.parts.items()}
    notes: tuple[str, ...] = ()
    if "all" in rows:
        kept, test = stratified_split(loaded.labels, TEST_SHARE, seed, "test")
        rows = {"train": kept, "test": test}
        notes += (f"no official split: {TEST_SHARE:.0%} of every class became the test part (seed {seed})",)
    if "test" not in rows and "validation" in rows:
        rows["test"] = rows.pop("validation")
        notes += ("there is no test part: the validation part is used as test part",)
    elif "test" not in rows:
        kept, test = stratified_split(loaded.labels[rows["train"]], TEST_SHARE, seed, "test")
        rows |= {"test": rows["train"][test], "train": rows["train"][kept]}
        notes += (f"there is no test part: {TEST_SHARE:.0%} of every class of train became one (seed {seed})",)
    if validation_share is not None and "validation" not in rows:
        kept, validation = stratified_split(loaded.labels[rows["train"]], validation_share, seed, "validation")
        rows |= {"validation": rows["train"][validation], "train": rows["train"][kept]}
        notes += (f"{validation_share:.0%} of every class of train became the validation part (seed {seed})",)
    return rows, notes


def _select(images: Tensor, rows: Rows) -> Tensor:
    """Return the rows of `images`: a view when they are consecutive, else a copy in the same layout."""
    if len(rows) and rows[-1] - rows[0] + 1 == len(rows):
        return images[int(rows[0]) : int(rows[-1]) + 1]
    inner = images.permute(0, 2, 3, 1)
    return inner[torch.from_numpy(rows)].permute(0, 3, 1, 2)


def _fingerprint(splits: dict[str, Split], class_names: tuple[str, ...]) -> str:
    total = hashlib.sha256("\x1f".join(class_names).encode())
    for name, split in splits.items():
        total.update(f"\x1e{name}\x1f{tuple(split.images.shape)}".encode())
        total.update(split.labels.numpy().tobytes())
        inner = split.images.permute(0, 2, 3, 1).contiguous()
        total.update(inner.numpy().data)
    return total.hexdigest()
