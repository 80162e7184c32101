"""`hillock predict`: what a trained network says of pictures."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hillock.cli import door

if TYPE_CHECKING:
    from hillock.data import Preprocessing

__all__ = ["Views", "Weights", "predict"]

# Pictures read and judged at a time, so that a folder of any size fits in memory.
CHUNK = 256


class Views(StrEnum):
    """Windows of a picture whose predictions are averaged."""

    centre = "centre"
    mirrored = "mirrored"
    ten_crop = "ten_crop"
    multi_view = "multi_view"
    multi_scale = "multi_scale"


class Weights(StrEnum):
    """Which weights of a run."""

    last = "last"
    best = "best"


def predict(
    run: Annotated[Path, typer.Argument(help="Folder of a run, for example runs/clothing.")],
    pictures: Annotated[list[str], typer.Argument(help="Picture files, folders, or patterns in quotes.")],
    top: Annotated[int, typer.Option("--top", min=1, help="Classes to name for each picture.")] = 5,
    views: Annotated[Views, typer.Option("--views", help="Windows whose predictions are averaged.")] = Views.centre,
    weights: Annotated[Weights, typer.Option("--weights", help="The last weights or the best.")] = Weights.last,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV: picture, rank, class, probability.")] = False,
    json: door.Json = False,
    device: door.Device = None,
    quiet: door.Quiet = False,
) -> None:
    """Name what is in pictures, with a run's network: the most likely classes and their probabilities.

        hillock predict runs/clothing photo.jpg holiday/ "scans/**/*.png" --top 3 --csv

    A picture that cannot be read is named on standard error and the others are judged; the exit code is then 1.
    """
    from hillock.data.predicting import find_pictures
    from hillock.errors import UsageError
    from hillock.training import Run

    if csv and json:
        raise UsageError("one of --csv and --json", got="both")
    opened = Run.open(run)
    paths = find_pictures(pictures)
    results = _predictions(opened, paths, top, views.value, weights.value, device, show_progress=not quiet)
    if json:
        door.emit_json(results)
    elif csv:
        _print_csv(results)
    else:
        _print_table(results)
    for result in results:
        if "error" in result:
            typer.echo(f"hillock predict: cannot read {result['picture']}: {result['error']}", err=True)
    if any("error" in result for result in results):
        raise typer.Exit(1)


def _predictions(
    run: Any, paths: list[Path], top: int, views: str, weights: Any, device: str | None, *, show_progress: bool
) -> list[dict[str, Any]]:
    """Return one mapping a picture, in the order of `paths`: its classes, or why it cannot be read."""
    from rich.progress import track

    from hillock.data import Preprocessing
    from hillock.data.predicting import read_pictures
    from hillock.training.hardware import device_of
    from hillock.training.predicting import probabilities

    preprocessing = Preprocessing.from_facts(run.facts)
    model = run.load_model(weights)
    results: list[dict[str, Any]] = []
    starts = range(0, len(paths), CHUNK)
    hidden = not show_progress or len(paths) <= CHUNK
    for start in track(starts, "predicting", console=door.console(to_stderr=True), disable=hidden, transient=True):
        chunk = paths[start : start + CHUNK]
        read = read_pictures(chunk, preprocessing)
        likely = probabilities(model, read.inputs, preprocessing, view=views, device=device_of(device or "auto"))
        reasons = {broken.name: broken.reason for broken in read.broken}
        ranked = dict(zip(read.places, likely, strict=True))
        for place, path in enumerate(chunk):
            if place in ranked:
                classes = _ranking(ranked[place], preprocessing, top)
                results.append({"picture": str(path), "classes": classes})
            else:
                results.append({"picture": str(path), "error": reasons[str(path)]})
    return results


def _ranking(likely: Any, preprocessing: Preprocessing, top: int) -> list[dict[str, Any]]:
    values, places = likely.topk(min(top, len(preprocessing.class_names)))
    return [
        {"class": preprocessing.class_names[place], "probability": round(value, 6)}
        for value, place in zip(values.tolist(), places.tolist(), strict=True)
    ]


def _print_csv(results: list[dict[str, Any]]) -> None:
    import csv
    import io

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["picture", "rank", "class", "probability"])
    for result in results:
        for rank, entry in enumerate(result.get("classes", []), 1):
            writer.writerow([result["picture"], rank, entry["class"], entry["probability"]])
    typer.echo(text.getvalue(), nl=False)


def _print_table(results: list[dict[str, Any]]) -> None:
    for result in results:
        if "error" not in result:
            said = "   ".join(f"{entry['class']} {entry['probability']:.1%}" for entry in result["classes"])
            typer.echo(f"{result['picture']}: {said}")
