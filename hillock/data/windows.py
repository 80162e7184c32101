"""Cutting windows out of stored pictures, a batch at a time, with padding, mirroring and resizing on the way."""

from __future__ import annotations

import numpy
import torch
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from hillock.data.augmentation import Draws
from hillock.data.workers import Workers

__all__ = ["cut"]

Bytes = NDArray[numpy.uint8]
Rows = NDArray[numpy.int64]
# torch runs an operation on fewer items than this in the calling thread alone (at::internal::GRAIN_SIZE); the threads
# that share a batch must not each call up torch's own.
TORCH_SERIAL_ITEMS = 32_768


def cut(
    pixels: Bytes,
    rows: Rows,
    draws: Draws,
    *,
    size: int,
    padding: int = 0,
    fill: Bytes | None = None,
    workers: Workers | None = None,
) -> Bytes:
    """Return uint8 `[B, size, size, C]`: the drawn window of each of the pictures `rows` of `pixels` `[N, H, W, C]`.

    Windows may reach `padding` pixels beyond the picture; there they show the colour `fill`, or the mirrored picture
    when `fill` is None.
    """
    if padding:
        pixels, rows = _padded(pixels, rows, padding, fill), numpy.arange(len(rows))
    windows = numpy.empty((len(rows), size, size, pixels.shape[3]), numpy.uint8)
    if (draws.side == size).all():

        def make(part: slice) -> None:
            _copy_windows(windows[part], pixels, rows[part], draws.top[part], draws.left[part])
            _mirror(windows[part], draws.flip[part])

        (workers or Workers()).each(len(rows), size * size * pixels.shape[3], make)
    else:
        for window, row, top, left, side in zip(windows, rows, draws.top, draws.left, draws.side, strict=True):
            window[:] = _resized(pixels[row, top : top + side, left : left + side], size)
        _mirror(windows, draws.flip)
    return windows


def _mirror(windows: Bytes, flip: NDArray[numpy.bool_]) -> None:
    """Mirror the chosen windows in place, left to right.

    torch has a vectorised mirror for bytes with the channels innermost: 10 us for 224 x 224 x 3, where a copy with a
    negative stride takes 170 us (numpy, one core of a 2.1 GHz Xeon).
    """
    chosen = numpy.flatnonzero(flip)
    size, channels = windows.shape[2:]
    few = TORCH_SERIAL_ITEMS // (size * size * channels)
    if few:  # several small pictures at a time
        for start in range(0, len(chosen), few):
            some = chosen[start : start + few]
            windows[some] = _mirrored(windows[some])
        return
    lines = max(1, TORCH_SERIAL_ITEMS // (size * channels))
    for window in (windows[place] for place in chosen):
        for start in range(0, size, lines):
            window[start : start + lines] = _mirrored(window[None, start : start + lines])[0]


def _mirrored(windows: Bytes) -> Bytes:
    return torch.from_numpy(windows).permute(0, 3, 1, 2).flip(3).permute(0, 2, 3, 1).numpy()


def _copy_windows(windows: Bytes, pixels: Bytes, rows: Rows, top: Rows, left: Rows) -> None:
    """Copy one window a picture: all windows of all pictures as a view, indexed once, so a line is one copy."""
    size = windows.shape[1]
    count, height, width, channels = pixels.shape
    picture, line, pixel, byte = pixels.strides
    assert pixel == channels, pixels.strides
    assert byte == 1 or channels == 1, pixels.strides
    assert len(rows) == 0 or (top.min() >= 0 and top.max() + size <= height), (top, size, height)
    assert len(rows) == 0 or (left.min() >= 0 and left.max() + size <= width), (left, size, width)
    every = as_strided(
        pixels,
        (count, height - size + 1, width - size + 1, size, size * channels),
        (picture, line, pixel, line, 1),
        writeable=False,
    )
    windows.reshape(len(rows), size, size * channels)[:] = every[rows, top, left]


def _padded(pixels: Bytes, rows: Rows, padding: int, fill: Bytes | None) -> Bytes:
    if fill is None:
        margins = (padding, padding)
        return numpy.pad(pixels[rows], ((0, 0), margins, margins, (0, 0)), mode="reflect")
    height, width, channels = pixels.shape[1:]
    padded = numpy.empty((len(rows), height + 2 * padding, width + 2 * padding, channels), numpy.uint8)
    padded.reshape(len(rows), -1)[:] = numpy.tile(fill, padded[0].size // channels)
    padded[:, padding : padding + height, padding : padding + width] = pixels[rows]
    return padded


def _resized(window: Bytes, size: int) -> Bytes:
    """Resize one window with antialiasing; torch has a vectorised uint8 path for channels-last pictures."""
    picture = torch.from_numpy(numpy.ascontiguousarray(window)).permute(2, 0, 1)[None]
    resized = torch.nn.functional.interpolate(
        picture.contiguous(memory_format=torch.channels_last), size=(size, size), mode="bilinear", antialias=True
    )
    return resized[0].permute(1, 2, 0).numpy()
