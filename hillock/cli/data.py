"""`hillock data`: look at a data set before training on it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hillock.cli import door

if TYPE_CHECKING:
    from hillock.data import Augmentation, DataSet

__all__ = ["data"]

data = typer.Typer(
    no_args_is_help=True,
    help="Look at a data set: sizes, classes, broken pictures, and what augmentation does to it.",
)


class Broken(StrEnum):
    """What to do about pictures that cannot be read."""

    refuse = "refuse"
    skip = "skip"


Source = Annotated[str, typer.Argument(help="digits, shapes, a folder of class folders, Parquet files, or a hub id.")]
BrokenOption = Annotated[Broken, typer.Option("--broken", help="Unreadable pictures: refuse the data or skip them.")]


@data.command()
def show(
    source: Source,
    out: Annotated[
        Path, typer.Option("--out", help="Where to write: NAME.html, or NAME.png for pictures alone.")
    ] = Path("data.html"),
    image_size: door.ImageSize = None,
    short_side: Annotated[
        int | None, typer.Option("--short-side", min=1, help="Store photos this large and crop (AlexNet: 256).")
    ] = None,
    recipe: door.RecipeName = None,
    pictures: Annotated[int, typer.Option("--pictures", min=1, max=64, help="Pictures a row.")] = 8,
    seed: door.Seed = None,
    broken: BrokenOption = Broken.refuse,
    json: door.Json = False,
) -> None:
    """Write a page that shows the data and each augmentation, alone and as a recipe combines them.

    Example: hillock data show photos --image-size 96 --out photos.html
    """
    from hillock.data.gallery import gallery, page, picture

    augmentation = _augmentation(recipe, short_side)
    dataset = _loaded(source, image_size, augmentation, broken)
    rows = gallery(dataset, augmentation, count=min(pictures, len(dataset.train)), seed=seed or 0)
    if out.suffix.lower() == ".png":
        picture(rows).save(out)
    else:
        out.write_text(page(rows, f"The data set {dataset.name}", _sentences(dataset)), encoding="utf-8")
    if json:
        door.emit_json(dataset.facts() | {"page": str(out), "rows": [row.name for row in rows]})
    else:
        typer.echo("\n".join(_sentences(dataset)))
        typer.echo(f"written: {out} ({len(rows)} rows)")


@data.command()
def facts(
    source: Source,
    image_size: door.ImageSize = None,
    broken: BrokenOption = Broken.refuse,
    json: door.Json = False,
) -> None:
    """Print sizes, classes with their counts, statistics, and pictures that cannot be read.

    Example: hillock data facts photos --image-size 96 --broken skip
    """
    dataset = _loaded(source, image_size, None, broken)
    if json:
        door.emit_json(dataset.facts())
        return
    typer.echo("\n".join(_sentences(dataset)))
    door.console().print(_class_table(dataset))
    for skipped in dataset.skipped:
        typer.echo(f"left out: {skipped.name}: {skipped.reason}")


@data.command()
def stores(
    check: Annotated[bool, typer.Option("--check", help="Read every byte and compare it with its hash.")] = False,
    json: door.Json = False,
) -> None:
    """List the prepared stores (decoded pictures, kept so that nothing is decoded twice) and their sizes.

    Example: hillock data stores --check

    They can be deleted at any time: they are built again when needed. Exit code 1 when a checked one is damaged.
    """
    from hillock.data.store import DamagedStoreError, Store, cache_folder

    found: list[dict[str, Any]] = []
    for folder in sorted((cache_folder() / "prepared").glob("*/")):
        size = sum(file.stat().st_size for file in folder.iterdir())
        state = "unfinished" if folder.suffix == ".building" else "whole" if check else "unchecked"
        if check and state == "whole":
            try:
                Store.open(folder, check_everything=True)
            except DamagedStoreError as error:
                state = f"damaged: {error}"
        found.append({"folder": str(folder), "bytes": size, "state": state})
    if json:
        door.emit_json(found)
    else:
        for entry in found:
            typer.echo(f"{entry['bytes'] / 2**20:10.1f} MiB  {entry['state']:10}  {entry['folder']}")
        typer.echo(f"{sum(entry['bytes'] for entry in found) / 2**20:10.1f} MiB  in {cache_folder()}")
    if any(entry["state"].startswith("damaged") for entry in found):
        raise typer.Exit(1)


def _loaded(source: str, image_size: int | None, augmentation: Augmentation | None, broken: Broken) -> DataSet:
    from hillock.data import load

    return load(source, image_size=image_size, augmentation=augmentation, broken=broken.value)


def _augmentation(recipe: str | None, short_side: int | None) -> Augmentation:
    from hillock.data import Augmentation
    from hillock.training import Recipe

    chosen = None if recipe is None else Recipe.load(recipe).augmentation
    augmentation = chosen if isinstance(chosen, Augmentation) else Augmentation(flip="random")
    return augmentation if short_side is None else augmentation.model_copy(update={"short_side": short_side})


def _sentences(dataset: DataSet) -> list[str]:
    sizes = ", ".join(f"{len(part):,} {name}" for name, part in dataset.splits.items())
    channels = "grey" if dataset.channels == 1 else "colour"
    stored = dataset.train.images.shape[2]
    return [
        f"{sizes} pictures, {channels}, {dataset.image_size} pixels a side"
        + (f" (stored with {stored})" if stored != dataset.image_size else ""),
        f"{dataset.num_classes} classes; the largest has {dataset.imbalance:.1f} times the pictures of the smallest",
        f"mean {_numbers(dataset.mean)}, standard deviation {_numbers(dataset.std)} on the scale 0 to 1",
        f"fingerprint {dataset.fingerprint[:16]}",
        *(f"note: {note}" for note in dataset.notes),
    ]


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.4f}" for value in values)


def _class_table(dataset: DataSet) -> Any:
    from rich.table import Table

    table = Table("class", *dataset.splits, "share of train", box=None, header_style="bold")
    counts = [part.class_counts(dataset.num_classes) for part in dataset.splits.values()]
    for place, name in enumerate(dataset.class_names):
        share = counts[0][place] / max(1, len(dataset.train))
        table.add_row(name, *(str(column[place]) for column in counts), f"{share:6.1%} {'█' * round(40 * share)}")
    return table
