"""Pictures of the augmentation: each kind shown on the same pictures, as one PNG or as a page."""

from __future__ import annotations

import base64
import html
import io
from dataclasses import dataclass

import numpy
import torch
from numpy.typing import NDArray
from PIL import Image

from hillock.data.augmentation import Augmentation
from hillock.data.batches import Batches
from hillock.data.dataset import DataSet, Split
from hillock.data.views import views

__all__ = ["Row", "gallery", "page", "picture"]

Pixels = NDArray[numpy.uint8]
# Small pictures are enlarged to about this many pixels a side, by whole factors, so that every pixel can be seen.
SHOWN_SIZE = 96
GAP = 2


@dataclass(frozen=True)
class Row:
    """One kind of augmentation: its name, one sentence, and pictures uint8 `[K, H, W, C]`."""

    name: str
    explanation: str
    pictures: Pixels


def gallery(dataset: DataSet, augmentation: Augmentation, *, count: int = 8, seed: int = 0) -> list[Row]:
    """Return rows: the pictures as they are, each kind of variation alone, `augmentation` as a whole, the test views.

    The rows show what the network sees, with the normalisation undone. Kinds that cannot apply (lighting without
    colours, crops from pictures stored no larger than the network's input) are left out.
    """
    chosen = torch.linspace(0, len(dataset.train) - 1, count).long()
    split = Split(dataset.train.images[chosen], dataset.train.labels[chosen])
    rows = [
        Row("as it is", "The central window, as in evaluation.", _seen(dataset, split, Augmentation(crop="centre")))
    ]
    for name, explanation, kind in _kinds(dataset):
        rows.append(Row(name, explanation, _seen(dataset, split, kind, seed)))
    rows.append(Row("your setting", _described(augmentation), _seen(dataset, split, augmentation, seed)))
    first = dataset.train.images[:1]
    names = ["multi_view", "mirrored"] + (["ten_crop"] if dataset.train.images.shape[2] > dataset.image_size else [])
    for name in names:
        shown = torch.cat([view for _, view in views(name, first, dataset.image_size)])
        rows.append(Row(f"test views: {name}", "One picture as its views.", shown.permute(0, 2, 3, 1).numpy()))
    return rows


def picture(rows: list[Row]) -> Image.Image:
    """Return the rows as one picture, one below the other, in the order given."""
    lines = [_strip(row.pictures) for row in rows]
    sheet = Image.new("RGB", (max(line.width for line in lines), sum(line.height + GAP for line in lines)), "white")
    top = 0
    for line in lines:
        sheet.paste(line, (0, top))
        top += line.height + GAP
    return sheet


def page(rows: list[Row], title: str, facts: list[str]) -> str:
    """Return a self-contained HTML page: facts about the data, then each row with its name and sentence."""
    sections = "".join(
        f"<section><h2>{html.escape(row.name)}</h2><p>{html.escape(row.explanation)}</p>"
        f'<img alt="{html.escape(row.name)}" src="data:image/png;base64,{_encoded(_strip(row.pictures))}"></section>'
        for row in rows
    )
    listed = "".join(f"<li>{html.escape(fact)}</li>" for fact in facts)
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>
<meta name="viewport" content="width=device-width"><style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem }}
h2 {{ font-size: 1.05rem; margin: 1.5rem 0 0 }} p {{ margin: 0 0 .5rem }} img {{ max-width: 100% }}
:root {{ color-scheme: light dark }} img {{ image-rendering: pixelated }}
</style></head><body><h1>{html.escape(title)}</h1><ul>{listed}</ul>{sections}</body></html>
"""


def _kinds(dataset: DataSet) -> list[tuple[str, str, Augmentation]]:
    size, stored = dataset.image_size, dataset.train.images.shape[2]
    eighth = max(1, size // 8)
    kinds: list[tuple[str, str, Augmentation]] = []
    if stored == size:
        kinds += [
            (
                f"crop, {fill} padding",
                f"{eighth} pixels added on every side, then a random window.",
                Augmentation(crop_padding=eighth, padding_fill=fill),
            )
            for fill in ("mean", "black", "reflect")
        ]
    else:
        kinds.append(
            ("random crop", f"A random window of {size} out of {stored} pixels.", Augmentation(short_side=stored))
        )
        jitter = (max(size, stored), 2 * max(size, stored))
        explanation = f"Short side drawn from {jitter[0]} to {jitter[1]} pixels, then a random window of {size}."
        kinds.append(("scale jitter", explanation, Augmentation(short_side=stored, scale_jitter=jitter)))
    centre = {"crop": "centre"}
    kinds += [
        ("flip", "Half of the pictures mirrored.", Augmentation.model_validate(centre | {"flip": "random"})),
        ("cutout", "A square set to the mean.", Augmentation.model_validate(centre | {"cutout": size // 2})),
    ]
    if dataset.channels == 3:
        kinds += [
            (f"PCA lighting, {reading}", explanation, Augmentation.model_validate(centre | {"lighting": reading}))
            for reading, explanation in (
                ("paper", "Colour shifts by the eigenvalues, pixels on 0 to 1 (about 5 grey levels on photos)."),
                ("source", "Colour shifts by the standard deviations, as in the authors' code (about 12 grey levels)."),
            )
        ]
    return kinds


def _described(augmentation: Augmentation) -> str:
    changed = augmentation.model_dump(exclude_defaults=True)
    return ", ".join(f"{name} = {value}" for name, value in changed.items()) or "No variation."


def _seen(dataset: DataSet, split: Split, augmentation: Augmentation, seed: int = 0) -> Pixels:
    """Return what the network sees of the split, in its order, as bytes again."""
    batches = Batches(split, len(split), seed=seed, dataset=dataset, augmentation=augmentation)
    inputs = batches.in_order()[0]
    std = torch.tensor(dataset.std).view(-1, 1, 1)
    mean = dataset.mean_picture if dataset.mean_picture is not None else torch.tensor(dataset.mean).view(-1, 1, 1)
    restored = ((inputs * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
    return restored.permute(0, 2, 3, 1).numpy()


def _strip(pictures: Pixels) -> Image.Image:
    """Return the pictures side by side, enlarged by a whole factor where they are small."""
    size = pictures.shape[1]
    factor = max(1, SHOWN_SIZE // size)
    side = size * factor
    strip = Image.new("RGB", (len(pictures) * (side + GAP) - GAP, side), "white")
    for place, pixels in enumerate(pictures):
        shown = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).convert("RGB")
        strip.paste(shown.resize((side, side), Image.Resampling.NEAREST), (place * (side + GAP), 0))
    return strip


def _encoded(strip: Image.Image) -> str:
    file = io.BytesIO()
    strip.save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")
