"""Class folders: one folder of pictures per class, optionally below train, validation and test folders."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy

from hillock.data.listing import Encoded, Listing, part_named
from hillock.data.pictures import PICTURE_SUFFIXES
from hillock.errors import DataError

__all__ = ["looks_like_folders", "pictures_below", "read"]


def looks_like_folders(folder: Path) -> bool:
    """Say whether a folder holds folders at all (hidden ones do not count)."""
    return any(_visible_folders(folder))


def read(folder: Path) -> Listing:
    """List `folder/<class>/**/picture` or `folder/<part>/<class>/**/picture`.

    Classes are sorted by name; every part must know the same ones, or fewer than `train`.
    """
    top = _visible_folders(folder)
    parts = {part: child for child in top if (part := part_named(child.name)) is not None}
    # A data set of trains and tests as classes is possible; parts have class folders inside, classes have pictures.
    if "train" not in parts or not _visible_folders(parts["train"]):
        parts = {"all": folder}
    class_names = _class_names(folder, parts)
    positions = {name: position for position, name in enumerate(class_names)}

    paths: list[Path] = []
    labels: list[int] = []
    ranges: dict[str, range] = {}
    stamp = hashlib.sha256()
    for part in ("all", "train", "validation", "test"):
        if part not in parts:
            continue
        start = len(paths)
        for child in _visible_folders(parts[part]):
            for path, size, modified in pictures_below(child):
                paths.append(path)
                labels.append(positions[child.name])
                stamp.update(f"{path.relative_to(folder)}\x1f{size}\x1f{modified}\n".encode())
        ranges[part] = range(start, len(paths))
        if start == len(paths):
            raise DataError(f"pictures in the class folders of {parts[part]}", got="none")

    def read_rows(rows: Sequence[int]) -> list[Encoded]:
        return [paths[row] for row in rows]

    return Listing(
        name=folder.name,
        labels=numpy.array(labels, dtype=numpy.int64),
        class_names=class_names,
        parts=ranges,
        key=stamp.hexdigest(),
        read=read_rows,
        describe=lambda row: str(paths[row].relative_to(folder)),
    )


def pictures_below(folder: Path) -> list[tuple[Path, int, int]]:
    """Return `(path, bytes, time of modification in ns)` of every picture file at any depth, sorted by path."""
    found: list[tuple[Path, int, int]] = []
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            if name.startswith(".") or os.path.splitext(name)[1].lower() not in PICTURE_SUFFIXES:
                continue
            path = Path(parent, name)
            try:
                status = path.stat()
            except FileNotFoundError:  # a dangling link: listed, and reported when it is read
                found.append((path, 0, 0))
                continue
            found.append((path, status.st_size, status.st_mtime_ns))
    return sorted(found)


def _class_names(folder: Path, parts: dict[str, Path]) -> tuple[str, ...]:
    reference = parts.get("train", folder)
    names = tuple(child.name for child in _visible_folders(reference))
    for part, path in parts.items():
        unknown = [child.name for child in _visible_folders(path) if child.name not in names]
        if unknown:
            raise DataError(
                f"the class folders of {part} to be among those of train", got=f"{', '.join(unknown)} in {path}"
            )
    return names


def _visible_folders(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))
