"""Data sets of the Hugging Face hub by their id, through `datasets`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy

from hillock.data.listing import Encoded, Listing, part_named
from hillock.data.parquet import LABEL_COLUMNS
from hillock.errors import DataError

__all__ = ["looks_like_hub_id", "read", "roles"]


def looks_like_hub_id(source: str) -> bool:
    """Say whether a source has the form `owner/name` or `owner/name:configuration` of the hub.

    >>> looks_like_hub_id("uoft-cs/cifar10"), looks_like_hub_id("../photos"), looks_like_hub_id("cifar10")
    (True, False, False)
    """
    owner, slash, name = source.partition("/")
    return bool(slash and owner and name) and "/" not in name and not source.startswith((".", "/", "~"))


def roles(features: Any, name: str) -> tuple[str, str, tuple[str, ...]]:
    """Return the picture column, the label column and the class names of a hub data set's features."""
    import datasets

    images = [column for column, feature in features.items() if isinstance(feature, datasets.Image)]
    classes = [column for column, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    labels = [column for column in LABEL_COLUMNS if column in classes] or classes
    if not images or not labels:
        raise DataError("a data set with a picture column and a class label", got=f"{dict(features)} in {name}")
    return images[0], labels[0], tuple(features[labels[0]].names)


def read(source: str) -> Listing:
    """Download (once, into the cache of `datasets`) and list a data set of the hub."""
    import datasets

    name, _, configuration = source.partition(":")
    try:
        downloaded = datasets.load_dataset(name, configuration or None)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise DataError(
            f"a data set of the hub called {source!r}",
            got=f"{type(error).__name__}: {error}",
            instead="digits, shapes, or a folder of class folders",
        ) from error
    return listing_of(downloaded, source)


def listing_of(parts: Any, name: str) -> Listing:
    """List a `datasets.DatasetDict` whose parts have a picture column and a class label."""
    import datasets

    known = {part_named(part): part for part in parts if part_named(part) is not None}
    if "train" not in known:
        if len(parts) != 1:
            raise DataError("a part called train", got=f"{', '.join(parts)} in {name}")
        known = {"all": next(iter(parts))}
    image, label, class_names = roles(parts[next(iter(known.values()))].features, name)
    chosen = [part for part in ("all", "train", "validation", "test") if part in known]
    tables = [parts[known[part]].cast_column(image, datasets.Image(decode=False)) for part in chosen]
    starts = numpy.cumsum([0, *(len(table) for table in tables)])
    labels = numpy.concatenate([numpy.asarray(table[label], dtype=numpy.int64) for table in tables])

    def read_rows(rows: Sequence[int]) -> list[Encoded]:
        encoded: list[Encoded] = []
        for row in rows:
            place = int(numpy.searchsorted(starts, row, side="right")) - 1
            value = tables[place][row - int(starts[place])][image]
            encoded.append(value["bytes"] if value["bytes"] is not None else Path(value["path"]))
        return encoded

    return Listing(
        name=name.replace("/", "--"),
        labels=labels,
        class_names=class_names,
        parts={part: range(int(starts[i]), int(starts[i + 1])) for i, part in enumerate(chosen)},
        key="-".join(str(table._fingerprint) for table in tables),
        read=read_rows,
        describe=lambda row: f"row {row} of {name}",
    )
