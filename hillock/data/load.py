"""The door: a name, a folder, a file or a hub id becomes a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy

from hillock.data import digits, folders, hub, parquet, pictures, shapes
from hillock.data.assembling import Decoded, assemble
from hillock.data.augmentation import Augmentation
from hillock.data.dataset import DataSet
from hillock.data.listing import Listing
from hillock.data.parts import rows_of_parts
from hillock.data.preparing import Progress, prepare
from hillock.data.splitting import Rows
from hillock.data.store import IN_MEMORY_BYTES, cache_folder
from hillock.errors import DataError, UnknownNameError, UsageError

__all__ = ["load"]

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
    * `cache`, `workers`, `progress`: of the prepared store, see `hillock.data.preparing.prepare`.

    Raises `DataError` when the source cannot be used.
    """
    if image_size is not None and image_size < 1:
        raise UsageError("an image size of at least 1 pixel", got=str(image_size))
    if validation_share is not None and not 0 < validation_share < 1:
        raise UsageError("a validation share between 0 and 1", got=str(validation_share))
    if limit is not None and limit < 1:
        raise UsageError("a limit of at least 1 picture", got=str(limit))
    augmentation = augmentation or Augmentation()
    cache = cache or cache_folder()
    if str(source) == digits.NAME:
        decoded, parts = digits.read(image_size)
    elif shapes.is_shapes(str(source)):
        decoded, parts = shapes.read(str(source), image_size, seed)
    else:
        listing = _listing(source)
        stored, channels = _stored_shape(listing, image_size, augmentation)
        image_size = image_size or stored
        rows, notes = rows_of_parts(
            listing.labels, listing.parts, seed=seed, validation_share=validation_share, limit=limit
        )
        order = _store_order(listing, rows, stored * stored * channels, limited=limit is not None)
        store, more = prepare(
            listing,
            order,
            size=stored,
            channels=channels,
            broken=broken,
            cache=cache,
            workers=workers,
            progress=progress,
        )
        decoded = Decoded.from_store(store, listing, order)
        return assemble(decoded, decoded.places(rows), image_size, augmentation, notes + more + decoded.notes, cache)
    rows, notes = rows_of_parts(decoded.labels, parts, seed=seed, validation_share=validation_share, limit=limit)
    return assemble(decoded, rows, image_size, augmentation, notes, None)


def _listing(source: str | Path) -> Listing:
    path = Path(source).expanduser()
    if path.is_dir():
        if parquet.files_of(path):
            return parquet.read(path)
        if folders.looks_like_folders(path):
            return folders.read(path)
        raise DataError("class folders of pictures, or Parquet files", got=f"neither in {path}")
    if path.is_file():
        if path.suffix in (".txt", ".tokens"):
            raise DataError("pictures", got=f"the text {path}", instead="hillock.data.load_text, which reads tokens")
        if path.suffix != ".parquet":
            raise DataError("a Parquet file", got=str(path), instead="the folder that holds the class folders")
        return parquet.read(path)
    if hub.looks_like_hub_id(str(source)):
        return hub.read(str(source))
    if "/" in str(source) or isinstance(source, Path):
        raise DataError("a folder or file that exists", got=str(source))
    known = [digits.NAME, shapes.NAME]
    raise UnknownNameError("data set (or a folder, a Parquet file, or a hub id owner/name)", str(source), known)


def _stored_shape(listing: Listing, image_size: int | None, augmentation: Augmentation) -> tuple[int, int]:
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


def _store_order(listing: Listing, rows: dict[str, Rows], picture_bytes: int, *, limited: bool) -> Rows:
    """Return the rows to store, in order.

    A small store keeps the source's order, whatever the split, so that other splits need no decoding. A large one is
    ordered by part, so that each part is one stretch of the file and is never copied.
    """
    together = numpy.concatenate(list(rows.values()))
    if len(together) * picture_bytes > IN_MEMORY_BYTES:
        return together
    return numpy.sort(together) if limited else numpy.arange(len(listing))
