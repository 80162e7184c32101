"""Test-time views: several windows of one picture whose predictions are averaged."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from hillock.errors import UsageError

__all__ = ["VIEW_NAMES", "ViewName", "views"]

ViewName = Literal["centre", "mirrored", "ten_crop", "multi_view", "multi_scale"]
VIEW_NAMES: tuple[str, ...] = get_args(ViewName)
# Short sides over the side of training: 224, 256, 384, 480 and 640 for 224 (He et al. 2015, section 3.4).
SCALES = (224 / 224, 256 / 224, 384 / 224, 480 / 224, 640 / 224)


def views(name: str, pictures: Tensor, image_size: int) -> list[tuple[float, Tensor]]:
    """Return (weight, `[B, C, image_size, image_size]`) for each view of pictures `[B, C, S, S]`, uint8 or inputs.

    * `centre`: the central window. `mirrored`: it and its mirror image.
    * `ten_crop`: the four corners, the centre, and their mirror images (Krizhevsky et al. 2012, 4.1), equally weighted;
      needs pictures stored larger than `image_size`.
    * `multi_view`: the centre and two copies shifted by one pixel along the diagonal (edges mirrored), each with its
      mirror image; the shifted ones count half together (the six views of airbench, Jordan 2024, arXiv:2404.00498).

    * `multi_scale`: the whole square resized to 1, 1.14, 1.71, 2.14 and 2.86 times `image_size`, each with its mirror
      image (He et al. 2015, 3.4, where the whole oblong picture is seen); for networks that take any size.

    The weights add up to 1; they apply to the softmax, not to the scores.

    >>> [weight for weight, _ in views("mirrored", torch.zeros(1, 3, 8, 8, dtype=torch.uint8), 8)]
    [0.5, 0.5]
    """
    stored = pictures.shape[-1]
    room = stored - image_size
    assert room >= 0, (stored, image_size)

    def window(top: int, left: int) -> Tensor:
        return pictures[..., top : top + image_size, left : left + image_size]

    centre = window(room // 2, room // 2)
    if name == "centre":
        return [(1.0, centre)]
    if name == "mirrored":
        return _with_mirrors([(1.0, centre)])
    if name == "ten_crop":
        if room == 0:
            raise UsageError(
                "pictures stored larger than the network's input for ten_crop",
                got=f"both {image_size} pixels",
                instead="--views multi_view, or train with augmentation.short_side above the image size",
            )
        corners = [window(top, left) for top in (0, room) for left in (0, room)]
        return _with_mirrors([(0.2, view) for view in [*corners, centre]])
    if name == "multi_view":
        padded = torch.nn.functional.pad(centre.float(), (1, 1, 1, 1), mode="reflect").to(centre.dtype)
        shifted = [padded[..., by : by + image_size, by : by + image_size] for by in (0, 2)]
        return _with_mirrors([(0.5, centre), (0.25, shifted[0]), (0.25, shifted[1])])
    if name == "multi_scale":
        sides = [round(scale * image_size) for scale in SCALES]
        return _with_mirrors([(1 / len(sides), _resized(pictures, side)) for side in sides])
    raise UsageError(f"one of {', '.join(VIEW_NAMES)} as views", got=repr(name))


def _resized(pictures: Tensor, side: int) -> Tensor:
    """Return pictures [B, C, side, side] of the same type, antialiased where they shrink."""
    wide = torch.nn.functional.interpolate(pictures.float(), (side, side), mode="bilinear", antialias=True)
    return wide.round().clamp(0, 255).to(torch.uint8) if pictures.dtype == torch.uint8 else wide.to(pictures.dtype)


def _with_mirrors(single: list[tuple[float, Tensor]]) -> list[tuple[float, Tensor]]:
    return [(weight / 2, view.flip(3) if mirror else view) for weight, view in single for mirror in (False, True)]
