"""`hillock compare`: several activations, one network, paired seeds, a verdict for each and a report."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hillock.cli import door

if TYPE_CHECKING:
    from hillock.comparison import Comparison, Progress, Study

__all__ = ["compare"]


def compare(
    activations: Annotated[
        str | None,
        typer.Option(
            "--activations", help="Names with commas between; also leaky_relu(negative_slope=0.1), mine=x*tanh(x)."
        ),
    ] = None,
    data: door.Data = None,
    network: door.Network = None,
    epochs: door.Epochs = None,
    seeds: Annotated[
        int | None, typer.Option("--seeds", min=1, help="Trainings of each activation (default 6).")
    ] = None,
    reference: Annotated[
        str | None, typer.Option("--reference", help="What the others are compared with (default relu).")
    ] = None,
    rope: Annotated[
        float | None,
        typer.Option(
            "--rope", min=0, help="Differences below this do not matter; points (default 0.2), for a loss nats."
        ),
    ] = None,
    metric: Annotated[
        str | None, typer.Option("--metric", help="test_error (default), test_loss or validation_error.")
    ] = None,
    target: Annotated[
        float | None, typer.Option("--target", help="Also time how soon a score is reached; errors in per cent.")
    ] = None,
    tune: Annotated[
        int | None,
        typer.Option("--tune", min=1, help="First try so many learning rates for each activation."),
    ] = None,
    image_size: door.ImageSize = None,
    recipe: door.RecipeName = None,
    study: Annotated[
        Path | None, typer.Option("--study", help="A study.toml to run as it stands, or a study's folder to repeat.")
    ] = None,
    out: door.Out = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=0, help="Trainings side by side (default: one a core; one on a GPU).")
    ] = None,
    device: door.Device = None,
    resume: door.Resume = False,
    overwrite: door.Overwrite = False,
    as_json: door.Json = False,
    quiet: door.Quiet = False,
) -> None:
    """Compare activations on your data over paired seeds, with a verdict for each.

    Every seed fixes initial weights, data order and augmentation for all activations alike. The answer is one of four
    words with an interval: better, worse, equivalent, undecided (and then, how many seeds are missing). Every network's
    health is examined. The folder holds the design, all runs, comparison.json and report.html.

    Six activations on scanned digits, about two minutes on two cores:

        hillock compare --data digits --network resnet8 --epochs 6 --seeds 6
            --activations relu,leaky_relu,elu,gelu,silu,mish --out runs/digits

    Each with a learning rate of its own, eight tried for each:

        hillock compare --data digits --network resnet8 --tune 8 --out runs/tuned

    Go on after Ctrl-C, or add seeds:

        hillock compare --study runs/digits --seeds 12 --out runs/digits --resume
    """
    from hillock import comparison, report

    typed = {"rope": rope, "metric": metric, "reference": reference, "tune": tune, "target": target}
    asked = {"data": data, "network": network, "epochs": epochs, "image_size": image_size, "device": device}
    if study is not None:
        design = _stored_design(study, seeds, {**asked, **typed, "activations": activations, "recipe": recipe})
    else:
        given = {name: value for name, value in {**typed, "seeds": seeds}.items() if value is not None}
        design = _design(activations, recipe, asked, given)
    begin = time.monotonic()
    with _shown(quiet=quiet or as_json) as progress:
        result = comparison.compare(
            design, out=out, resume=resume, overwrite=overwrite, workers=workers, progress=progress
        )
    assert result.folder is not None
    page = result.folder / "report.html"
    report.comparison_page(result, page)
    if as_json:
        door.emit_json({**result.to_dict(), "report": str(page)})
    else:
        _print(result, page, time.monotonic() - begin)


def _design(activations: str | None, recipe: str | None, asked: dict[str, Any], given: dict[str, Any]) -> Study:
    """Return the study that the options describe; `given` holds those that were typed."""
    from hillock.comparison import Arm, Study, Tuning
    from hillock.report import wording

    if "tune" in given:
        given["tuning"] = Tuning(trials=given.pop("tune"))
    if wording.is_share(given.get("metric", "test_error")):
        # Points and per cent on the command line, as people speak of errors; shares in the study.
        given |= {name: given[name] / 100 for name in ("rope", "target") if name in given}
    if "reference" in given:
        given["reference"] = Arm.parse(given["reference"]).name
    names = door.split_names(activations or DEFAULT_ACTIVATIONS)
    return Study(arms=tuple(map(Arm.parse, names)), recipe=door.recipe(recipe, **asked), **given)


# Compared when nothing else is asked for: the rectifier, its leaky form, and the smooth ones of later years.
DEFAULT_ACTIVATIONS = "relu,leaky_relu,elu,gelu,silu,mish"


def _stored_design(path: Path, seeds: int | None, others: dict[str, Any]) -> Study:
    """Return a study from its file, with more or fewer seeds where asked; nothing else may be changed."""
    from hillock.comparison import Study
    from hillock.errors import UsageError

    for name, value in others.items():
        if value is not None:
            option = "--" + name.replace("_", "-")
            raise UsageError(
                f"--study without {option}, which the study fixes already", instead=f"a changed copy of {path}"
            )
    design = Study.load(path)
    return design if seeds is None else Study(**{**design.to_dict(), "seeds": seeds})


def _print(result: Comparison, page: Path, seconds: float) -> None:
    """Print the answer: the table, the sentences, and where the rest is."""
    from hillock.report import tables, wording

    console = door.console()
    study = result.study
    console.print()
    recipe, runs = study.recipe, len(result.outcomes)
    counts = f"{wording.counted(recipe.epochs, 'epoch')}, {wording.counted(len(study.seeds), 'paired seed')}"
    made = f"{wording.counted(runs, 'training')} in {wording.duration(seconds)}"
    console.print(f"{recipe.network} on {recipe.data}, {counts}: {made}", style="bold", markup=False)
    console.print()
    console.print(tables.comparison_table(result))
    console.print()
    for sentence in [*(sentence for _, sentence in wording.answers(result)), *wording.remarks(result)]:
        console.print(sentence, markup=False)
    console.print(f"\nReport: {page}", markup=False, soft_wrap=True)


@contextlib.contextmanager
def _shown(*, quiet: bool) -> Iterator[Callable[[Progress], None] | None]:
    """Show progress on standard error: a bar on a terminal, else a line now and then."""
    if quiet:
        yield None
        return
    console = door.console(to_stderr=True)
    if console.is_terminal:
        with _bar(console) as show:
            yield show
    else:
        yield _lines()


def _lines() -> Callable[[Progress], None]:
    """Return what prints one line for every tenth of the runs, for logs."""
    told = -1

    def show(progress: Progress) -> None:
        nonlocal told
        tenth = 10 * progress.finished // max(1, progress.runs)
        if tenth > told:
            told = tenth
            typer.echo(f"{progress.finished} of {progress.runs} trainings finished", err=True)

    return show


@contextlib.contextmanager
def _bar(console: Any) -> Iterator[Callable[[Progress], None]]:
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.fields[finished]}/{task.fields[runs]} trainings"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[message]}", style="dim"),
    )
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None, finished=0, runs="…", message="starting")

        def show(progress: Progress) -> None:
            bar.update(
                task,
                total=progress.epochs_to_train or 1,
                completed=progress.epochs,
                finished=progress.finished,
                runs=progress.runs,
                message=progress.message,
            )

        yield show
