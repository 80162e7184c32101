"""Preparing: decoding a source's pictures once into a store, in parallel, resumable, whole or not there at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy
from filelock import FileLock

from hillock.data.dataset import SkippedPicture
from hillock.data.listing import Listing
from hillock.data.pictures import BrokenPictureError, decode
from hillock.data.splitting import Rows
from hillock.data.store import VERSION, DamagedStoreError, Store, StoreShape, cache_folder
from hillock.errors import DataError

__all__ = ["Progress", "prepare"]

# Names of broken pictures that an error spells out before it only counts.
NAMES_SHOWN = 5

Progress = Callable[[int, int], None]


def prepare(
    listing: Listing,
    rows: Rows,
    *,
    size: int,
    channels: int,
    broken: str = "refuse",
    cache: Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> tuple[Store, tuple[str, ...]]:
    """Return the store of `rows` of a listing, built if needed, and notes about what had to be done.

    * `size`: pixels a side of the stored central square. `broken`: "refuse" or "skip" pictures that cannot be read.
    * `workers`: decoding threads (Pillow releases Python's lock while it decodes); None: one a core.
    * `progress`: called with (pictures done, pictures in all); None: a bar on standard error if that is a terminal.
    """
    shape = StoreShape.of(len(rows), size, channels)
    key = _key(listing, rows, shape, broken)
    home = (cache or cache_folder()) / "prepared"
    try:
        home.mkdir(parents=True, exist_ok=True)
        held = FileLock(home / f"{key}.lock").acquire()
    except OSError as error:
        raise DataError(
            f"a cache folder that can be written ({home})",
            got=error.strerror or str(error),
            instead="setting HILLOCK_CACHE to a folder with space",
        ) from error
    notes: tuple[str, ...] = ()
    with held:
        folder = home / f"{listing.name}-{size}px-{key}"
        if folder.exists():
            try:
                return Store.open(folder), notes
            except DamagedStoreError as error:
                notes = (f"the prepared store was damaged and was built again ({error})",)
                shutil.rmtree(folder)
        with contextlib.ExitStack() as shown:
            if progress is None and sys.stderr.isatty():
                progress = shown.enter_context(_bar(listing.name))
            _build(listing, rows, shape, folder, broken, workers, progress)
        return Store.open(folder), notes


@contextlib.contextmanager
def _bar(name: str) -> Iterator[Progress]:
    """Yield a progress callback that draws a bar with the time left."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"decoding {name} once", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _build(
    listing: Listing,
    rows: Rows,
    shape: StoreShape,
    folder: Path,
    broken: str,
    workers: int | None,
    progress: Progress | None,
) -> None:
    # The unfinished folder does not depend on `broken`: refused first and skipped afterwards decodes once.
    building = folder.parent / f"{listing.name}-{shape.size}px-{_key(listing, rows, shape)}.building"
    building.mkdir(exist_ok=True)
    pixels = building / "pictures.u8"
    handle = os.open(pixels, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _reserve(handle, shape, pixels)
        done = _resume(building / "done.jsonl", handle, shape)
        with (building / "done.jsonl").open("w") as journal:
            for line in done.values():
                journal.write(json.dumps(line) + "\n")
            for line in _decode_chunks(listing, rows, shape, handle, set(done), workers):
                done[line["chunk"]] = line
                journal.write(json.dumps(line) + "\n")
                journal.flush()
                if progress is not None:
                    progress(sum(len(shape.rows(chunk)) for chunk in done), shape.count)
        damaged = [tuple(entry) for chunk in sorted(done) for entry in done[chunk]["broken"]]
        skipped = [SkippedPicture(listing.describe(int(rows[row])), reason) for row, reason in damaged]
        if skipped and broken != "skip":
            raise DataError(*_broken_sentence(skipped, shape.count))
        if len(skipped) == shape.count:
            raise DataError("at least one readable picture", got=f"{shape.count} broken ones in {listing.name}")
        hashes = [done[chunk]["hash"] for chunk in range(shape.chunks)]
        if skipped:
            shape, hashes = _close_gaps(handle, shape, [row for row, _ in damaged])
        os.fsync(handle)
    except OSError as error:
        raise _disk_error(error, shape, building) from error
    finally:
        os.close(handle)
    meta = {
        "version": VERSION,
        **asdict(shape),
        "hashes": hashes,
        "skipped": [asdict(picture) for picture in skipped],
        "skipped_rows": [row for row, _ in damaged],
    }
    (building / "store.json").write_text(json.dumps(meta))
    (building / "done.jsonl").unlink()
    building.rename(folder)


def _key(listing: Listing, rows: Rows, shape: StoreShape, *more: str) -> str:
    plan = (
        "\x1f".join([str(VERSION), listing.key, f"{shape.count} {shape.size} {shape.channels}", *more, ""]).encode()
        + rows.tobytes()
    )
    return hashlib.sha256(plan).hexdigest()[:16]


def _reserve(handle: int, shape: StoreShape, path: Path) -> None:
    """Reserve the file's blocks, so that a full disk is found now and not after an hour."""
    size = shape.count * shape.picture_bytes
    try:
        os.posix_fallocate(handle, 0, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise
        if shutil.disk_usage(path.parent).free < size:  # the file system cannot reserve: at least compare
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
    os.ftruncate(handle, size)


def _resume(journal: Path, handle: int, shape: StoreShape) -> dict[int, dict[str, Any]]:
    """Return the journal lines whose chunks are on disk as they were written."""
    done: dict[int, dict[str, Any]] = {}
    if not journal.exists():
        return done
    for text in journal.read_text().splitlines():
        try:
            line = json.loads(text)
            chunk = int(line["chunk"])
        except (ValueError, KeyError, TypeError):  # the line that was being written when the build was killed
            continue
        length = len(shape.rows(chunk)) * shape.picture_bytes
        if hashlib.sha256(os.pread(handle, length, shape.offset(chunk))).hexdigest() == line["hash"]:
            done[chunk] = line
    return done


def _decode_chunks(
    listing: Listing, rows: Rows, shape: StoreShape, handle: int, done: set[int], workers: int | None
) -> Iterator[dict[str, Any]]:
    """Decode the missing chunks in parallel and yield a journal line for each, in order of completion."""
    todo = [chunk for chunk in range(shape.chunks) if chunk not in done]
    threads = workers or len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(threads, thread_name_prefix="hillock-decode") as pool:
        waiting: set[Future[dict[str, Any]]] = set()
        try:
            while todo or waiting:
                while todo and len(waiting) < 2 * threads:
                    waiting.add(pool.submit(_decode_chunk, listing, rows, shape, handle, todo.pop(0)))
                finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in finished:
                    yield future.result()
        finally:
            for future in waiting:
                future.cancel()


def _decode_chunk(listing: Listing, rows: Rows, shape: StoreShape, handle: int, chunk: int) -> dict[str, Any]:
    inside = shape.rows(chunk)
    pixels = numpy.zeros((len(inside), shape.size, shape.size, shape.channels), numpy.uint8)
    broken: list[tuple[int, str]] = []
    for place, encoded in enumerate(listing.read([int(rows[row]) for row in inside])):
        try:
            pixels[place] = decode(encoded, shape.size, shape.channels)
        except BrokenPictureError as error:
            broken.append((inside[place], str(error)))
    _write(handle, pixels.data.cast("B"), shape.offset(chunk))
    return {"chunk": chunk, "hash": hashlib.sha256(pixels.data).hexdigest(), "broken": broken}


def _write(handle: int, data: memoryview, offset: int) -> None:
    while data:
        written = os.pwrite(handle, data, offset)
        data, offset = data[written:], offset + written


def _close_gaps(handle: int, shape: StoreShape, missing: Sequence[int]) -> tuple[StoreShape, list[str]]:
    """Move the rows after each missing one down, cut the file, and hash it anew."""
    kept = numpy.setdiff1d(numpy.arange(shape.count), missing)
    smaller = replace(shape, count=len(kept))
    hashes = []
    for chunk in range(smaller.chunks):
        inside = smaller.rows(chunk)
        source = kept[inside.start : inside.stop]
        first, last = int(source[0]), int(source[-1])
        span = os.pread(handle, (last - first + 1) * shape.picture_bytes, first * shape.picture_bytes)
        block = numpy.frombuffer(span, numpy.uint8).reshape(-1, shape.picture_bytes)[source - first]
        _write(handle, block.data.cast("B"), smaller.offset(chunk))
        hashes.append(hashlib.sha256(block.data).hexdigest())
    os.ftruncate(handle, smaller.count * smaller.picture_bytes)
    return smaller, hashes


def _broken_sentence(skipped: Sequence[SkippedPicture], count: int) -> tuple[str]:
    shown = "; ".join(f"{picture.name} ({picture.reason})" for picture in skipped[:NAMES_SHOWN])
    more = f"; and {len(skipped) - NAMES_SHOWN} more" if len(skipped) > NAMES_SHOWN else ""
    return (
        f"{count} readable pictures, but {len(skipped)} cannot be read: {shown}{more}; "
        'repair or remove them, or leave them out with broken="skip" (--broken skip)',
    )


def _disk_error(error: OSError, shape: StoreShape, folder: Path) -> Exception:
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return error
    needed = shape.count * shape.picture_bytes / 2**20
    return DataError(
        f"{needed:.0f} MiB of free space for decoded pictures in {folder.parent}",
        got=f"a full disk ({shutil.disk_usage(folder.parent).free / 2**20:.0f} MiB free)",
        instead="setting HILLOCK_CACHE to a folder with more space, or a smaller --image-size",
    )
