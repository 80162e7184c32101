"""Cutting windows out of stored pictures: one copy each, with padding, mirroring and resizing on the way."""

from __future__ import annotations

import numpy
import torch
from numpy.typing import NDArray

from hillock.data.augmentation import Draws

__all__ = ["cut"]

Bytes = NDArray[numpy.uint8]


def cut(
    pixels: Bytes, rows: NDArray[numpy.int64], draws: Draws, *, size: int, padding: int = 0, fill: Bytes | None = None
) -> Bytes:
    """Return uint8 `[B, size, size, C]`: the drawn window of each of the pictures `rows` of `pixels` `[N, H, W, C]`.

    Windows may reach `padding` pixels beyond the picture; there they show the colour `fill`, or the mirrored picture
    when `fill` is None.
    """
    height, width, channels = pixels.shape[1:]
    windows = numpy.empty((len(rows), size, size, channels), numpy.uint8)
    if padding and fill is not None:
        windows[:] = fill
    geometry = zip(
        rows.tolist(), draws.top.tolist(), draws.left.tolist(), draws.side.tolist(), draws.flip.tolist(), strict=True
    )
    for window, (row, top, left, side, flip) in zip(windows, geometry, strict=True):
        target = window[:, ::-1] if flip else window
        if side != size:
            target[:] = _resized(pixels[row, top : top + side, left : left + side], size)
        elif not padding:
            target[:] = pixels[row, top : top + size, left : left + size]
        elif fill is None:
            padded = numpy.pad(pixels[row], ((padding, padding), (padding, padding), (0, 0)), mode="reflect")
            target[:] = padded[top : top + size, left : left + size]
        else:
            y, x = top - padding, left - padding  # the window's corner in the picture itself; may be negative
            inside_y = slice(max(0, y), min(height, y + size))
            inside_x = slice(max(0, x), min(width, x + size))
            target[inside_y.start - y : inside_y.stop - y, inside_x.start - x : inside_x.stop - x] = pixels[
                row, inside_y, inside_x
            ]
    return windows


def _resized(window: Bytes, size: int) -> Bytes:
    """Resize one window with antialiasing; torch has a vectorised uint8 path for channels-last pictures."""
    picture = torch.from_numpy(numpy.ascontiguousarray(window)).permute(2, 0, 1)[None]
    resized = torch.nn.functional.interpolate(
        picture.contiguous(memory_format=torch.channels_last), size=(size, size), mode="bilinear", antialias=True
    )
    return resized[0].permute(1, 2, 0).numpy()
