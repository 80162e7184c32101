"""The prepared store: built once, resumed after a kill, refused or rebuilt when damaged, never half there."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from hillock import data
from hillock.data import folders, preparing, store
from hillock.data.pictures import decode
from hillock.errors import DataError


def the_store(cache: Path) -> Path:
    (found,) = [folder for folder in (cache / "prepared").iterdir() if folder.is_dir()]
    return found


def small_chunks(monkeypatch: pytest.MonkeyPatch, pictures: int = 3) -> None:
    monkeypatch.setattr(store, "CHUNK_BYTES", pictures * 8 * 8 * 3)


def test_the_second_load_decodes_nothing(photos: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = data.load(photos, image_size=8)
    monkeypatch.setattr(preparing, "decode", None)
    again = data.load(photos, image_size=8)
    assert torch.equal(first.train.images, again.train.images)
    assert first.fingerprint == again.fingerprint
    assert data.load(photos, image_size=8, seed=5).fingerprint != first.fingerprint  # other split, same store


@pytest.mark.parametrize("workers", [1, 3])
def test_a_store_holds_what_decoding_gives(
    photos: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    small_chunks(monkeypatch)
    listing = folders.read(photos)
    steps: list[tuple[int, int]] = []
    opened, _ = preparing.prepare(
        listing, numpy.arange(40), size=8, channels=3, workers=workers, progress=lambda *step: steps.append(step)
    )
    for row, path in enumerate(listing.read(range(40))):
        assert numpy.array_equal(opened.images[row].permute(1, 2, 0).numpy(), decode(path, 8, 3))
    assert steps[-1] == (40, 40)
    assert len(steps) == 14


def test_a_large_store_is_mapped_and_ordered_by_part(
    photos: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_memory = data.load(photos, image_size=8, cache=cache / "other")
    for module in (store, data.load.__globals__):
        if isinstance(module, dict):
            monkeypatch.setitem(module, "IN_MEMORY_BYTES", 10)
        else:
            monkeypatch.setattr(module, "IN_MEMORY_BYTES", 10)
    mapped = data.load(photos, image_size=8)
    assert torch.equal(in_memory.train.images, mapped.train.images)
    assert torch.equal(in_memory.test.labels, mapped.test.labels)
    assert mapped.mean == in_memory.mean
    batches = data.Batches(mapped.train, 8, dataset=mapped)
    assert sum(len(targets) for _, targets in batches.epoch(0)) == 32


@pytest.mark.parametrize("damage", ["truncated", "one bit", "grown", "no pictures", "no facts", "torn facts"])
def test_a_damaged_store_is_detected_and_built_again(
    photos: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    small_chunks(monkeypatch)
    whole = data.load(photos, image_size=8)
    folder = the_store(cache)
    pictures = folder / "pictures.u8"
    content = bytearray(pictures.read_bytes())
    if damage == "truncated":
        pictures.write_bytes(content[:-1])
    elif damage == "one bit":
        content[len(content) // 2] ^= 1
        pictures.write_bytes(content)
    elif damage == "grown":
        pictures.write_bytes(content + b"\0")
    elif damage == "no pictures":
        pictures.unlink()
    elif damage == "no facts":
        (folder / "store.json").unlink()
    else:
        (folder / "store.json").write_text((folder / "store.json").read_text()[:100])
    with pytest.raises(store.DamagedStoreError):
        store.Store.open(folder)
    again = data.load(photos, image_size=8)
    assert any("damaged" in note for note in again.notes)
    assert torch.equal(again.train.images, whole.train.images)
    assert not data.load(photos, image_size=8).notes[1:]


BUILD = """
import sys, time
from pathlib import Path
from hillock.data import folders, preparing, store
import numpy
real = preparing.decode
def slow(*arguments, **options):
    time.sleep(0.02)
    return real(*arguments, **options)
preparing.decode = slow
store.CHUNK_BYTES = 3 * 8 * 8 * 3
print("ready", flush=True)
preparing.prepare(folders.read(Path(sys.argv[1])), numpy.arange(40), size=8, channels=3, workers=2)
"""


def test_a_killed_build_goes_on_where_it_stopped(photos: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = subprocess.Popen([sys.executable, "-c", BUILD, str(photos)], stdout=subprocess.PIPE, env=dict(os.environ))
    assert process.stdout is not None
    process.stdout.readline()
    building = None
    while building is None or not (building / "done.jsonl").exists() or not (building / "done.jsonl").read_text():
        assert process.poll() is None
        building = next(iter((cache / "prepared").glob("*.building")), None)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    done = len((building / "done.jsonl").read_text().splitlines())
    assert 0 < done < 14
    # The line that was being written, and a chunk that never reached the disk whole, are not believed.
    with (building / "done.jsonl").open("a") as journal:
        journal.write(json.dumps({"chunk": 13, "hash": "0" * 64, "broken": []}) + '\n{"chunk": 12, "ha')
    small_chunks(monkeypatch)
    decoded: list[object] = []

    def counting(*arguments: object) -> object:
        decoded.append(arguments[0])
        return decode(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(preparing, "decode", counting)
    listing = folders.read(photos)
    opened, _ = preparing.prepare(listing, numpy.arange(40), size=8, channels=3)
    assert len(decoded) == 40 - 3 * done
    for row, path in enumerate(listing.read(range(40))):
        assert numpy.array_equal(opened.images[row].permute(1, 2, 0).numpy(), decode(path, 8, 3))


def test_broken_pictures_are_named_counted_refused_or_skipped(
    photos: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_chunks(monkeypatch)
    whole = data.load(photos, image_size=8, cache=cache / "whole")
    (photos / "cat" / "03.png").write_bytes(b"no picture")
    cut = (photos / "dog" / "19.png").read_bytes()[:200]
    (photos / "dog" / "19.png").write_bytes(cut)
    with pytest.raises(DataError, match=r"2 cannot be read: cat/03.png \(not a picture.*dog/19.png"):
        data.load(photos, image_size=8)
    skipping = data.load(photos, image_size=8, broken="skip")
    assert [picture.name for picture in skipping.skipped] == ["cat/03.png", "dog/19.png"]
    assert len(skipping.train) + len(skipping.test) == 38
    assert any("2 of 40 pictures cannot be read" in note for note in skipping.notes)
    # Every other picture is still there, with its own label.
    remaining = {(bytes(image.numpy().tobytes()), int(label)) for part in (skipping.train, skipping.test)
                 for image, label in zip(part.images.contiguous(), part.labels, strict=True)}  # fmt: skip
    everything = {(bytes(image.numpy().tobytes()), int(label)) for part in (whole.train, whole.test)
                  for image, label in zip(part.images.contiguous(), part.labels, strict=True)}  # fmt: skip
    assert remaining < everything
    assert len(remaining) == 38


def test_a_picture_that_vanishes_before_it_is_read(photos: Path, cache: Path) -> None:
    (photos / "cat" / "99.png").symlink_to(photos / "nowhere.png")
    with pytest.raises(DataError, match=r"cat/99.png \(the file has vanished\)"):
        data.load(photos, image_size=8)


def test_pictures_added_or_changed_later_are_seen(photos: Path, cache: Path) -> None:
    before = data.load(photos, image_size=8)
    Image.new("RGB", (9, 9), "red").save(photos / "dog" / "20.png")
    after = data.load(photos, image_size=8)
    assert len(after.train) + len(after.test) == 41
    assert before.fingerprint != after.fingerprint


def test_a_full_disk_is_said_and_leaves_no_store(photos: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(preparing, "_write", full)
    with pytest.raises(DataError, match=r"MiB of free space.*HILLOCK_CACHE"):
        data.load(photos, image_size=8)
    assert not [folder for folder in (cache / "prepared").iterdir() if folder.is_dir() and folder.suffix != ".building"]
    monkeypatch.undo()
    monkeypatch.setenv("HILLOCK_CACHE", str(cache))
    assert len(data.load(photos, image_size=8).train) == 32


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB, where this process may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a small file system: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_really_full_disk(photos: Path, tiny_disk: Path) -> None:
    with pytest.raises(DataError, match=r"MiB of free space for decoded pictures"):
        data.load(photos, image_size=64, cache=tiny_disk)
    assert len(data.load(photos, image_size=8, cache=tiny_disk).train) == 32


def test_a_read_only_cache_is_said(photos: Path, tmp_path: Path, tiny_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(tiny_disk)], check=True)
    with pytest.raises(DataError, match=r"a cache folder that can be written.*Read-only.*HILLOCK_CACHE"):
        data.load(photos, image_size=8, cache=tiny_disk)


def test_a_cache_that_is_a_file_is_said(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="a cache folder that can be written"):
        data.load(photos, image_size=8, cache=tmp_path / "file")


def test_a_store_deleted_in_mid_epoch_does_not_end_it(
    photos: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "IN_MEMORY_BYTES", 10)
    mapped = data.load(photos, image_size=8)
    expected = [inputs.clone() for inputs, _ in data.Batches(mapped.train, 8, dataset=mapped).epoch(0)]
    batches = data.Batches(mapped.train, 8, dataset=mapped).epoch(0)
    next(batches)
    for file in the_store(cache).iterdir():
        file.unlink()
    for inputs, (again, _) in zip(expected[1:], batches, strict=True):
        assert torch.equal(inputs, again)


def test_two_processes_build_one_store(photos: Path, cache: Path) -> None:
    command = [sys.executable, "-c", BUILD, str(photos)]
    processes = [subprocess.Popen(command, stdout=subprocess.DEVNULL, env=dict(os.environ)) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    store.Store.open(the_store(cache), check_everything=True)
