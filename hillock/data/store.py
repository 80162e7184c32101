"""The prepared store: pictures decoded once into one file of uint8, so that an epoch costs no decoding.

A store is a folder: `pictures.u8` (rows of `[H, W, C]`, back to back) and `store.json` (shape, one SHA-256 per chunk of
rows, the pictures left out). It is built next to its final place, chunk by chunk with a journal, and renamed when it is
complete: a build that was killed goes on where it stopped, and a folder with the final name is always whole. Opening
checks the length and the hashes, so a truncated or altered store is never trained on.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor

from hillock.data.dataset import SkippedPicture
from hillock.errors import DataError

__all__ = ["DamagedStoreError", "Store", "StoreShape", "cache_folder"]

VERSION = 2
# A chunk is hashed, journalled and, after a kill, rebuilt as a whole. 8 MiB decode in about a second from photos.
CHUNK_BYTES = 8 << 20
# Below this a store is read into memory, above it is mapped from disk.
IN_MEMORY_BYTES = 512 << 20
# Up to this size every byte is checked on every opening (about 1.5 GB/s a core); above it, every length and a sample.
FULLY_CHECKED_BYTES = 4 << 30
SAMPLED_CHUNKS = 32


class DamagedStoreError(DataError):
    """A prepared store whose bytes are not the ones that were written."""


def cache_folder() -> Path:
    """Return where prepared stores live: `$HILLOCK_CACHE`, else `$XDG_CACHE_HOME/hillock`, else `~/.cache/hillock`."""
    chosen = os.environ.get("HILLOCK_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hillock"


@dataclass(frozen=True)
class StoreShape:
    """How many pictures of which shape, and where each chunk of them lies."""

    count: int
    size: int
    channels: int
    chunk_rows: int

    @classmethod
    def of(cls, count: int, size: int, channels: int) -> StoreShape:
        return cls(count, size, channels, max(1, CHUNK_BYTES // (size * size * channels)))

    @property
    def picture_bytes(self) -> int:
        return self.size * self.size * self.channels

    @property
    def chunks(self) -> int:
        return -(-self.count // self.chunk_rows)

    def rows(self, chunk: int) -> range:
        return range(chunk * self.chunk_rows, min(self.count, (chunk + 1) * self.chunk_rows))

    def offset(self, chunk: int) -> int:
        return chunk * self.chunk_rows * self.picture_bytes


@dataclass(frozen=True, eq=False)
class Store:
    """An opened, checked store. `images` is uint8 `[N, C, H, W]` with the channels innermost in memory."""

    folder: Path
    images: Tensor
    hashes: tuple[str, ...]
    skipped: tuple[SkippedPicture, ...]
    skipped_rows: tuple[int, ...]

    @classmethod
    def open(cls, folder: Path, *, check_everything: bool = False) -> Store:
        """Open a store after checking it; `DamagedStoreError` says what does not fit."""
        meta = _read_meta(folder)
        shape = _shape_of(meta)
        path = folder / "pictures.u8"
        expected = shape.count * shape.picture_bytes
        try:
            found = path.stat().st_size
        except OSError as error:
            raise DamagedStoreError(f"the file {path}", got=str(error)) from error
        if found != expected:
            raise DamagedStoreError(f"{expected} bytes in {path}", got=f"{found}: the prepared store was cut or grew")
        small = expected <= IN_MEMORY_BYTES
        pixels = numpy.fromfile(path, numpy.uint8) if small else numpy.memmap(path, numpy.uint8, mode="c")
        chunks: Sequence[int] = range(shape.chunks)
        if expected > FULLY_CHECKED_BYTES and not check_everything:
            chunks = numpy.unique(numpy.linspace(0, shape.chunks - 1, SAMPLED_CHUNKS).astype(int)).tolist()
        _check(pixels, shape, chunks, meta["hashes"], path)
        tensor = torch.from_numpy(pixels.reshape(shape.count, shape.size, shape.size, shape.channels))
        return cls(
            folder=folder,
            images=tensor.permute(0, 3, 1, 2),
            hashes=tuple(meta["hashes"]),
            skipped=tuple(SkippedPicture(**picture) for picture in meta["skipped"]),
            skipped_rows=tuple(meta["skipped_rows"]),
        )


def _check(pixels: Any, shape: StoreShape, chunks: Sequence[int], hashes: Sequence[str], path: Path) -> None:
    def altered(chunk: int) -> bool:
        start = shape.offset(chunk)
        block = pixels[start : start + len(shape.rows(chunk)) * shape.picture_bytes]
        return hashlib.sha256(block.data).hexdigest() != hashes[chunk]

    with ThreadPoolExecutor(len(os.sched_getaffinity(0)), thread_name_prefix="hillock-check") as pool:
        bad = [chunk for chunk, wrong in zip(chunks, pool.map(altered, chunks), strict=True) if wrong]
    if bad:
        raise DamagedStoreError(
            f"the bytes that were written to {path}", got=f"{len(bad)} altered of {len(chunks)} checked chunks"
        )


def _read_meta(folder: Path) -> dict[str, Any]:
    try:
        meta: dict[str, Any] = json.loads((folder / "store.json").read_text())
        shape = _shape_of(meta)
        if meta["version"] != VERSION or len(meta["hashes"]) != shape.chunks:
            raise ValueError("its entries do not fit together")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedStoreError(f"a readable store.json in {folder}", got=str(error)) from error
    return meta


def _shape_of(meta: dict[str, Any]) -> StoreShape:
    return StoreShape(meta["count"], meta["size"], meta["channels"], meta["chunk_rows"])
