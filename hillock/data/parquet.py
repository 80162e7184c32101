"""Parquet files in the hub's layout: a column of encoded pictures and a column of labels."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy

from hillock.data.listing import Encoded, Listing, part_named
from hillock.data.splitting import Rows
from hillock.errors import DataError

__all__ = ["files_of", "read"]

# Labels go by these names on the hub; the first present is taken.
LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "target", "category")
# Row groups kept decoded from disk at a time: builders read them in order from a few threads.
GROUPS_KEPT = 4


def files_of(path: Path) -> list[Path]:
    """Return the Parquet files of a path: itself, or those in a folder and in the folders inside it, sorted.

    Not deeper: a folder of a million photos is not searched twice.
    """
    return [path] if path.is_file() else sorted([*path.glob("*.parquet"), *path.glob("*/*.parquet")])


def read(path: Path) -> Listing:
    """List the pictures of a Parquet file or of a folder of them (`train*.parquet`, `test*.parquet`, ...)."""
    import pyarrow.parquet

    files = files_of(path)
    by_part: dict[str, list[Path]] = {}
    for file in files:
        by_part.setdefault(part_named(file.name) or part_named(file.parent.name) or "all", []).append(file)
    if "train" not in by_part:
        by_part = {"all": files}
    order = [file for part in ("all", "train", "validation", "test") for file in by_part.get(part, [])]

    opened = [pyarrow.parquet.ParquetFile(file) for file in order]
    image_column, label_column, class_names = _columns(opened[0], order[0])
    labels, class_names = _labels(opened, order, label_column, class_names)
    rows_per_file = [file.metadata.num_rows for file in opened]
    ranges: dict[str, range] = {}
    for part in by_part:
        inside = [position for position, file in enumerate(order) if file in by_part[part]]
        start = sum(rows_per_file[: inside[0]])
        ranges[part] = range(start, start + sum(rows_per_file[position] for position in inside))

    stamp = hashlib.sha256()
    for file in order:
        status = file.stat()
        stamp.update(f"{file.name}\x1f{status.st_size}\x1f{status.st_mtime_ns}\n".encode())
    groups = _RowGroups(order, opened, image_column)
    return Listing(
        name=path.stem if path.is_file() else path.name,
        labels=labels,
        class_names=class_names,
        parts=ranges,
        key=stamp.hexdigest(),
        read=groups.read,
        describe=groups.describe,
    )


def _columns(file: Any, path: Path) -> tuple[str, str, tuple[str, ...] | None]:
    """Return the picture column, the label column and the class names from the file's metadata (None: not given)."""
    schema = file.schema_arrow
    features: dict[str, Any] = {}
    metadata = (schema.metadata or {}).get(b"huggingface")
    if metadata:
        features = json.loads(metadata).get("info", {}).get("features", {})
    images = [
        name for name, feature in features.items() if isinstance(feature, dict) and feature.get("_type") == "Image"
    ]
    images += [field.name for field in schema if str(field.type).startswith(("struct<bytes", "binary", "large_binary"))]
    if not images:
        raise DataError("a column of encoded pictures", got=f"{', '.join(schema.names)} in {path}")
    classes = [name for name, feature in features.items() if isinstance(feature, dict) and "names" in feature]
    labels = classes + [name for name in LABEL_COLUMNS if name in schema.names]
    if not labels:
        raise DataError(f"a column of labels ({', '.join(LABEL_COLUMNS)})", got=f"{', '.join(schema.names)} in {path}")
    names = features.get(labels[0], {}).get("names")
    return images[0], labels[0], None if names is None else tuple(str(name) for name in names)


def _labels(
    opened: Sequence[Any], files: Sequence[Path], column: str, class_names: tuple[str, ...] | None
) -> tuple[Rows, tuple[str, ...]]:
    values: list[Any] = []
    for file, path in zip(opened, files, strict=True):
        if column not in file.schema_arrow.names:
            raise DataError(f"the label column {column!r} in every file", got=f"none in {path}")
        values.extend(file.read(columns=[column]).column(0).to_pylist())
    if any(value is None for value in values):
        raise DataError(f"a label for every picture in {column!r}", got="missing ones")
    if class_names is None:
        kinds = sorted(set(values))
        class_names = tuple(str(kind) for kind in kinds)
        positions = {kind: position for position, kind in enumerate(kinds)}
        values = [positions[value] for value in values]
    labels = numpy.array(values, dtype=numpy.int64)
    if labels.size and (labels.min() < 0 or labels.max() >= len(class_names)):
        raise DataError(
            f"labels from 0 to {len(class_names) - 1}", got=f"{labels.min()} to {labels.max()} in {column!r}"
        )
    return labels, class_names


class _RowGroups:
    """Random access to encoded pictures, one row group at a time, shared by the threads of a build."""

    def __init__(self, paths: Sequence[Path], opened: Sequence[Any], column: str) -> None:
        self._paths, self._opened, self._column = paths, opened, column
        self._lock = threading.Lock()
        self._kept: dict[tuple[int, int], Any] = {}
        self._starts: list[int] = []  # first row of each group
        self._groups: list[tuple[int, int]] = []  # (file, group)
        row = 0
        for file, parquet in enumerate(opened):
            for group in range(parquet.metadata.num_row_groups):
                self._starts.append(row)
                self._groups.append((file, group))
                row += parquet.metadata.row_group(group).num_rows

    def _place(self, row: int) -> int:
        return int(numpy.searchsorted(self._starts, row, side="right")) - 1

    def read(self, rows: Sequence[int]) -> list[Encoded]:
        encoded: list[Encoded] = []
        for row in rows:
            position = self._place(row)
            value = self._group(position)[row - self._starts[position]].as_py()
            if isinstance(value, dict):
                value = value.get("bytes") or self._paths[self._groups[position][0]].parent / (value.get("path") or "")
            encoded.append(b"" if value is None else value)
        return encoded

    def describe(self, row: int) -> str:
        position = self._place(row)
        file = self._groups[position][0]
        first = self._starts[self._groups.index((file, 0))]
        return f"row {row - first} of {self._paths[file].name}"

    def _group(self, position: int) -> Any:
        key = self._groups[position]
        with self._lock:
            if key not in self._kept:
                while len(self._kept) >= GROUPS_KEPT:
                    self._kept.pop(next(iter(self._kept)))
                file, group = key
                self._kept[key] = self._opened[file].read_row_group(group, columns=[self._column]).column(0)
            return self._kept[key]
