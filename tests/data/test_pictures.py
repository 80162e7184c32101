"""Odd pictures: any mode, depth, orientation and shape becomes the same kind of bytes; broken ones say why."""

from __future__ import annotations

import io
from pathlib import Path

import numpy
import pytest
from PIL import Image

from hillock.data.pictures import BrokenPictureError, decode, is_grey, size_of


def saved(picture: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, format=form, **options)  # type: ignore[arg-type]
    return file.getvalue()


RED = Image.new("RGB", (40, 20), (250, 10, 20))

ODD = {
    "grey": (saved(Image.new("L", (9, 9), 200), "PNG"), (200, 200, 200)),
    "one bit": (saved(Image.new("1", (9, 9), 1), "PNG"), (255, 255, 255)),
    "palette": (saved(RED.quantize(4), "PNG"), (250, 10, 20)),
    "palette with transparency": (saved(RED.quantize(4), "GIF", transparency=0), (255, 255, 255)),
    "CMYK": (saved(RED.convert("CMYK"), "TIFF"), (250, 10, 20)),
    "alpha, opaque": (saved(Image.new("RGBA", (9, 9), (1, 2, 3, 255)), "PNG"), (1, 2, 3)),
    "alpha, clear": (saved(Image.new("RGBA", (9, 9), (1, 2, 3, 0)), "PNG"), (255, 255, 255)),
    "grey with alpha": (saved(Image.new("LA", (9, 9), (100, 255)), "PNG"), (100, 100, 100)),
    "16 bit": (saved(Image.fromarray(numpy.full((9, 9), 25700, numpy.uint16)), "PNG"), (100, 100, 100)),
    "float TIFF": (saved(Image.fromarray(numpy.full((9, 9), 0.2, numpy.float32)), "TIFF"), (51, 51, 51)),
    "1 pixel wide": (saved(Image.new("RGB", (1, 300), (7, 8, 9)), "PNG"), (7, 8, 9)),
    "1 pixel": (saved(Image.new("RGB", (1, 1), (7, 8, 9)), "PNG"), (7, 8, 9)),
}


@pytest.mark.parametrize("kind", ODD)
def test_any_kind_becomes_bytes_of_the_right_colour(kind: str) -> None:
    encoded, colour = ODD[kind]
    pixels = decode(encoded, 8, 3)
    assert pixels.shape == (8, 8, 3)
    assert pixels.dtype == numpy.uint8
    assert numpy.abs(pixels.astype(int) - colour).max() <= 3, pixels[0, 0]
    grey = decode(encoded, 8, 1)
    assert grey.shape == (8, 8, 1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_cameras_orientation_is_applied(orientation: int) -> None:
    upright = Image.new("RGB", (32, 32), "black")
    upright.paste((255, 255, 255), (0, 0, 16, 16))  # the white quarter is at the top left
    back = {
        1: [], 2: [Image.Transpose.FLIP_LEFT_RIGHT], 3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM], 5: [Image.Transpose.TRANSPOSE], 6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE], 8: [Image.Transpose.ROTATE_270],
    }[orientation]  # fmt: skip
    stored = upright
    for step in back:
        stored = stored.transpose(step)
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = decode(saved(stored, "JPEG", exif=exif, quality=95), 8, 3)
    assert pixels[:3, :3].min() > 200
    assert pixels[5:].max() < 60
    assert pixels[:, 5:].max() < 60


def test_the_central_square_is_kept_and_no_more() -> None:
    wide = Image.new("RGB", (90, 30), "black")
    wide.paste((255, 255, 255), (30, 0, 60, 30))
    pixels = decode(saved(wide, "PNG"), 10, 3)
    assert pixels[:, 1:-1].min() > 250
    assert pixels.mean() > 245  # the filter sees a little beyond the edge, as it would on the whole picture


def test_draft_decoding_changes_no_picture_visibly() -> None:
    ramp = numpy.linspace(0, 255, 640).astype(numpy.uint8)
    photo = Image.fromarray(numpy.stack([numpy.tile(ramp, (480, 1))] * 3, axis=2))
    small = decode(saved(photo, "JPEG", quality=95), 32, 3)
    exact = decode(saved(photo, "PNG"), 32, 3)
    assert numpy.abs(small.astype(int) - exact).max() <= 4


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        (b"", "not a picture"),
        (b"no picture at all", "not a picture"),
        (saved(Image.effect_noise((200, 200), 50), "JPEG")[:2000], "truncated"),
        (saved(Image.effect_noise((200, 200), 50), "PNG")[:2000], "truncated"),
        (saved(Image.fromarray(numpy.full((9, 9), -4.0, numpy.float32)), "TIFF"), "neither 8 nor 16 bits"),
        (saved(Image.fromarray(numpy.full((9, 9), numpy.nan, numpy.float32)), "TIFF"), "not finite"),
        (Path("vanished.jpg"), "vanished"),
    ],
    ids=["empty", "text", "cut JPEG", "cut PNG", "negative", "NaN", "vanished"],
)
def test_a_broken_picture_says_why(encoded: bytes | Path, reason: str) -> None:
    with pytest.raises(BrokenPictureError, match=reason):
        decode(encoded, 8, 3)


def test_a_picture_too_large_to_be_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(BrokenPictureError, match="larger than 100 pixels"):
        decode(saved(RED, "PNG"), 8, 3)


def test_headers_are_read_without_decoding() -> None:
    assert size_of(saved(RED, "PNG")) == (40, 20)
    assert size_of(b"nothing") is None
    assert is_grey(saved(Image.new("L", (4, 4)), "PNG"))
    assert not is_grey(saved(RED, "PNG"))
