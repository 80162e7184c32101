"""What every source of picture files looks like before decoding: labels, official parts, and a way to read bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hillock.data.splitting import Rows
from hillock.errors import DataError

__all__ = ["PART_NAMES", "Encoded", "Listing", "part_named"]

# A picture as it lies on disk: the bytes of a file, or the file.
Encoded = bytes | Path

# How the three parts are called in the wild, as the name of a folder or the beginning of a file's name.
PART_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}


@dataclass(frozen=True, eq=False)
class Listing:
    """The pictures of one source in a fixed order.

    * `labels`: int64 `[N]`. `parts`: part name -> half-open range of rows; `{"all": ...}` when the source has no parts.
    * `key`: changes whenever the source's files change (names, sizes and times of modification), cheap to compute.
    * `read`: rows -> encoded pictures; called from several threads.
    * `describe`: row -> the name under which a user finds the picture.
    """

    name: str
    labels: Rows
    class_names: tuple[str, ...]
    parts: dict[str, range]
    key: str
    read: Callable[[Sequence[int]], list[Encoded]]
    describe: Callable[[int], str]

    def __post_init__(self) -> None:
        if len(self.labels) == 0:
            raise DataError("at least one picture", got=f"none in {self.name}")
        if len(self.class_names) < 2:
            raise DataError(
                "pictures of at least two classes", got=f"{len(self.class_names)} in {self.name}: {self.class_names}"
            )

    def __len__(self) -> int:
        return len(self.labels)


def part_named(name: str) -> str | None:
    """Return which of train, validation and test a folder or file name stands for, or None.

    >>> part_named("val"), part_named("train-00000-of-00002"), part_named("cats")
    ('validation', 'train', None)
    """
    word = name.lower()
    for part, names in PART_NAMES.items():
        if any(word == known or word.startswith((f"{known}-", f"{known}_", f"{known}.")) for known in names):
            return part
    return None
