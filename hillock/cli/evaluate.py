"""`hillock evaluate`: how good a run's network is, class by class, and how well it knows it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hillock.cli import door
from hillock.cli.predict import Views, Weights

if TYPE_CHECKING:
    from hillock.data import DataSet
    from hillock.training.evaluation import Evaluation

__all__ = ["evaluate"]

# With more classes the confusion matrix no longer fits a terminal; it is in --json then.
WIDEST_MATRIX = 12


class Part(StrEnum):
    """A part of a data set."""

    train = "train"
    validation = "validation"
    test = "test"


def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a run, for example runs/clothing.")],
    part: Annotated[Part, typer.Option("--part", help="Which pictures to judge by.")] = Part.test,
    data: door.Data = None,
    views: Annotated[Views, typer.Option("--views", help="Windows whose predictions are averaged.")] = Views.centre,
    weights: Annotated[Weights, typer.Option("--weights", help="The last weights or the best.")] = Weights.last,
    device: door.Device = None,
    json: door.Json = False,
) -> None:
    """Judge a run's network on its data: error, confusion matrix, each class, calibration, all with 95 % intervals.

        hillock evaluate runs/clothing --views mirrored

    Another data set with the same classes can be given by --data.
    """
    from hillock.errors import UsageError
    from hillock.training import Run
    from hillock.training.evaluation import evaluate_model
    from hillock.training.hardware import device_of

    opened = Run.open(run)
    dataset = _dataset(opened, data)
    split = dataset.splits.get(part.value)
    if split is None:
        raise UsageError(f"one of the parts {', '.join(dataset.splits)}", got=part.value)
    if not len(split):
        raise UsageError("pictures that are kept", got=f"the streamed {dataset.name}", instead="--data FOLDER")
    model = opened.load_model(weights.value)
    result = evaluate_model(model, dataset, split, view=views.value, device=device_of(device or "auto"))
    if json:
        door.emit_json({"run": str(run), "data": dataset.name, "part": part.value, "views": views.value}
                       | result.to_dict())  # fmt: skip
    else:
        _print(result, f"{run}, {part.value} part of {dataset.name}, {views.value}", dataset.notes)


def _dataset(run: Any, data: str | None) -> DataSet:
    """Return the run's data, or another with the same classes prepared by the run's statistics."""
    import dataclasses

    from hillock.data import Preprocessing
    from hillock.errors import DataError
    from hillock.training.materials import load_data

    dataset = load_data(run.recipe if data is None else run.recipe.replace(data=data, limit=None))
    preprocessing = Preprocessing.from_facts(run.facts)
    if dataset.class_names != preprocessing.class_names:
        raise DataError(
            f"data with the run's classes ({', '.join(preprocessing.class_names[:5])}, ...)",
            got=", ".join(dataset.class_names[:5]),
        )
    notes = dataset.notes
    if data is None and dataset.fingerprint != run.facts.get("fingerprint"):
        notes += (f"{dataset.name} has changed since the run was trained: its pictures, labels or parts differ",)
    # The network expects the statistics of its training, whatever data it now sees.
    return dataclasses.replace(
        dataset,
        image_size=preprocessing.image_size,
        mean=preprocessing.mean,
        std=preprocessing.std,
        mean_picture=preprocessing.mean_picture,
        notes=notes,
    )


def _print(result: Evaluation, title: str, notes: tuple[str, ...]) -> None:
    from rich.table import Table

    console = door.console()
    console.print(f"[bold]{title}[/bold]: {result.pictures:,} pictures")
    for note in notes:
        console.print(f"note: {note}", style="yellow")
    console.print(f"error            {_rate(result.error, result.error_interval)}")
    if result.top5_error is not None:
        console.print(f"top-5 error      {_rate(result.top5_error, result.top5_interval)}")
    console.print(f"majority class   {result.majority_error:.2%} error")
    console.print(f"loss             {result.loss:.4f} nats")
    console.print(f"calibration      {_rate(result.calibration_error, result.calibration_interval)} mean gap")
    table = Table("class", "pictures", "found (recall)", "right when said (precision)", box=None, header_style="bold")
    for entry in result.classes:
        table.add_row(
            entry.name,
            str(entry.pictures),
            _rate(entry.recall, entry.recall_interval),
            _rate(entry.precision, entry.precision_interval),
        )
    console.print(table)
    if len(result.classes) <= WIDEST_MATRIX:
        console.print(_matrix(result))
    for truth, said, number in result.most_confused():
        console.print(f"most confused: {number} of {truth} were taken for {said}")


def _matrix(result: Evaluation) -> Any:
    from rich.table import Table

    names = [entry.name for entry in result.classes]
    table = Table("true \\ said", box=None, header_style="bold")
    for name in names:
        table.add_column(name, justify="right")
    for name, row in zip(names, result.confusion, strict=True):
        table.add_row(name, *(str(number) if number else "·" for number in row))
    return table


def _rate(value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None or interval is None:
        return "none"
    return f"{value:.2%} ({interval[0]:.2%} to {interval[1]:.2%})"
