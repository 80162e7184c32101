"""One picture file to bytes: any mode, depth and orientation in, a uint8 square of the wanted channels out."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

__all__ = ["PICTURE_SUFFIXES", "BrokenPictureError", "decode", "is_grey", "open_picture", "size_of", "square"]

Bytes = NDArray[numpy.uint8]

# What Pillow reads without plug-ins and people keep photos in.
PICTURE_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "gif", "tif", "tiff", "ppm", "pgm", "pbm", "pnm"),
        *("avif", "tga", "jp2"),
    )
)
GREY_MODES = frozenset({"1", "L", "I", "I;16", "I;16B", "I;16L", "I;16N", "F", "LA", "La"})


class BrokenPictureError(Exception):
    """A picture that cannot be read; the message is the reason. Counted and reported by whoever reads many."""


def decode(source: bytes | str | Path, size: int, channels: int, *, full: bool = False) -> Bytes:
    """Return a picture as uint8 `[H, W, C]`.

    The short side is resized to `size` pixels (antialiased bicubic); the central square is kept, or everything when
    `full`. Grey, palette, CMYK, 16-bit and transparent pictures (over white) become `channels` 1 or 3; the camera's
    orientation is applied; of an animation the first frame counts.

    Raises `BrokenPictureError` with the reason when the file is missing, truncated, no picture, or too large.
    """
    try:
        picture = open_picture(source, size, channels)
        resized = _resize(picture, size) if full else square(picture, size)
    except BrokenPictureError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BrokenPictureError(f"larger than {Image.MAX_IMAGE_PIXELS} pixels") from error
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, MemoryError, TypeError) as error:
        # Pillow's decoders raise all of these for damaged files.
        raise BrokenPictureError(_reason(error)) from error
    pixels = numpy.asarray(resized)
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def open_picture(source: bytes | str | Path, size: int, channels: int) -> Image.Image:
    """Open one picture upright in mode L or RGB, not much larger than needed for a short side of `size`."""
    opened: io.BytesIO | str | Path = io.BytesIO(source) if isinstance(source, bytes) else source
    with Image.open(opened) as picture:
        width, height = picture.size
        # Pillow itself refuses only twice that many, and warns below.
        if Image.MAX_IMAGE_PIXELS is not None and width * height > Image.MAX_IMAGE_PIXELS:
            raise BrokenPictureError(f"larger than {Image.MAX_IMAGE_PIXELS} pixels")
        if isinstance(picture, ImageFile.ImageFile) and min(picture.size) > size:
            # JPEG can be decoded at 1/2, 1/4 or 1/8 of its size for a fraction of the time. Twice the target keeps the
            # antialiased resize in charge of the result.
            picture.draft("L" if channels == 1 else "RGB", (2 * size, 2 * size))
        picture.load()
        if picture.getexif().get(0x0112, 1) != 1:  # the EXIF tag Orientation; 1 is upright
            return _to_channels(ImageOps.exif_transpose(picture), channels)
        return _to_channels(picture, channels)


def is_grey(source: bytes | str | Path) -> bool:
    """Say whether a picture file has no colour channels (by its header alone). A broken one counts as grey."""
    opened: io.BytesIO | str | Path = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(opened) as picture:
                return picture.mode in GREY_MODES
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return True


def size_of(source: bytes | str | Path) -> tuple[int, int] | None:
    """Return (width, height) by the header alone, or None for a broken picture."""
    opened: io.BytesIO | str | Path = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(opened) as picture:
                return picture.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def square(picture: Image.Image, size: int) -> Image.Image:
    """Return the central square of a picture, resized to `size` pixels a side.

    The same as resizing the short side to `size` and cutting the centre, but only the kept part is computed.
    """
    width, height = picture.size
    if width == height == size:
        return picture
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return picture.resize((size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))


def _resize(picture: Image.Image, size: int) -> Image.Image:
    width, height = picture.size
    short = min(width, height)
    target = (max(size, round(width * size / short)), max(size, round(height * size / short)))
    return picture if target == picture.size else picture.resize(target, Image.Resampling.BICUBIC)


def _to_channels(picture: Image.Image, channels: int) -> Image.Image:
    """Return the picture in mode L (1 channel) or RGB (3)."""
    assert channels in (1, 3), channels
    wanted = "L" if channels == 1 else "RGB"
    if picture.mode == wanted:
        return picture
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        picture = _deep_to_bytes(picture)
    elif picture.mode in ("RGBA", "LA", "La", "RGBa", "PA") or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return picture.convert(wanted)


def _deep_to_bytes(picture: Image.Image) -> Image.Image:
    """Reduce a grey picture of 16 or 32 bits, or of floats, to 8 bits."""
    values = numpy.asarray(picture, dtype=numpy.float64)
    if not numpy.isfinite(values).all():
        raise BrokenPictureError("has pixels that are not finite numbers")
    low, high = float(values.min()), float(values.max())
    if picture.mode == "F":
        scale = 255.0 if high <= 1 else 1.0  # floats are kept on 0..1 or on 0..255
    elif picture.mode == "I" and high <= 255:
        scale = 1.0
    else:
        scale = 255 / 65535
    if low < 0 or high * scale > 255:
        raise BrokenPictureError(f"has values from {low:g} to {high:g}, neither 8 nor 16 bits")
    return Image.fromarray(numpy.rint(values * scale).astype(numpy.uint8))


def _reason(error: BaseException) -> str:
    if isinstance(error, FileNotFoundError):
        return "the file has vanished"
    if isinstance(error, UnidentifiedImageError):
        return "not a picture that Pillow can read"
    return str(error) or type(error).__name__
