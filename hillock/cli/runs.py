"""`hillock runs`: list, compare and follow the runs in a folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hillock.cli import door
from hillock.errors import CheckpointError

if TYPE_CHECKING:
    from hillock.training import Run

runs = typer.Typer(no_args_is_help=True, help="List, compare and follow runs.")

Folder = Annotated[Path, typer.Option("--in", help="Where the runs are, at any depth.")]


def found(folder: Path) -> list[Run]:
    """Return the runs below a folder, the most recently written last."""
    from hillock.training import Run

    recipes = sorted(folder.rglob("recipe.toml"), key=lambda path: path.stat().st_mtime)
    return [Run.open(path.parent) for path in recipes]


def _state(run: Run) -> str:
    """finished, running (somebody holds the folder's lock), or stopped."""
    import filelock

    if run.is_finished:
        return "finished"
    lock = filelock.FileLock(run.folder / ".lock", blocking=False)
    try:
        with lock:
            return "stopped"
    except filelock.Timeout:
        return "running"


def _row(run: Run) -> dict[str, Any]:
    last = run.record[-1] if run.record else {}
    return {
        "run": str(run.folder),
        "state": _state(run),
        "data": run.recipe.data,
        "network": run.recipe.network,
        "activation": run.recipe.activation,
        "seed": run.recipe.seed,
        "epoch": last.get("epoch"),
        "epochs": run.recipe.epochs,
        "validation_error": last.get("validation_error"),
        "test_error": last.get("test_error"),
        "seconds": last.get("seconds"),
    }


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.2%}"


@runs.command("list")
def list_runs(folder: Folder = Path("runs"), json: door.Json = False) -> None:
    """List the runs: what was trained, how far, how well.

    hillock runs list --in runs
    """
    rows = [_row(run) for run in found(folder)]
    if json:
        door.emit_json(rows)
        return
    if not rows:
        typer.echo(f"no runs in {folder}; start one with: hillock train")
        return
    from rich.table import Table

    table = Table("run", "state", "network", "activation", "seed", "epochs", "validation error", "test error")
    for row in rows:
        epochs = f"{row['epoch'] or 0:g}/{row['epochs']}"
        name = (row["run"], row["state"], row["network"], row["activation"], str(row["seed"]), epochs)
        table.add_row(*name, _share(row["validation_error"]), _share(row["test_error"]))
    door.console().print(table)


@runs.command()
def compare(
    first: Annotated[Path, typer.Argument(help="A run's folder.")],
    second: Annotated[Path, typer.Argument(help="Another.")],
    json: door.Json = False,
) -> None:
    """Show in which settings two runs differ and how they ended.

        hillock runs compare runs/a runs/b

    Two single runs prove nothing about the settings; for a verdict use: hillock compare
    """
    from hillock.training import Run

    one, other = Run.open(first), Run.open(second)
    settings = _differences(one.recipe.to_dict(), other.recipe.to_dict())
    ends = {
        name: (one.final.get(name), other.final.get(name))
        for name in ("train_loss", "train_error", "test_loss", "test_error", "seconds")
    }
    if json:
        door.emit_json({"settings": settings, "final": ends})
        return
    from rich.table import Table

    table = Table("", str(first), str(second))
    for name, pair in settings.items():
        table.add_row(name, *(str(value) for value in pair))
    for name, pair in ends.items():
        table.add_row(name, *("" if value is None else f"{value:.4g}" for value in pair))
    door.console().print(table)


def _differences(one: dict[str, Any], other: dict[str, Any], path: str = "") -> dict[str, tuple[Any, Any]]:
    """Return the settings that differ, by their dotted names."""
    found: dict[str, tuple[Any, Any]] = {}
    for name in sorted(one.keys() | other.keys()):
        left, right = one.get(name), other.get(name)
        if isinstance(left, dict) and isinstance(right, dict):
            found |= _differences(left, right, f"{path}{name}.")
        elif left != right:
            found[f"{path}{name}"] = (left, right)
    return found


@runs.command()
def tail(
    run: Annotated[Path, typer.Argument(help="A run's folder.")],
    follow: Annotated[bool, typer.Option(help="Wait for further lines until the run ends.")] = True,
    seconds: Annotated[float, typer.Option(help="Between looks.", min=0.1)] = 2.0,
) -> None:
    """Print a run's evaluations, and go on as they come.

    hillock runs tail runs/digits-resnet8-relu
    """
    from hillock.training import Run

    if not (run / "recipe.toml").is_file():
        raise CheckpointError("a run's folder", got=str(run), instead="hillock runs list")
    shown = 0
    while True:
        opened = Run.open(run)
        for line in opened.record[shown:]:
            parts = [f"epoch {line['epoch']:g}/{opened.recipe.epochs}", f"training loss {line['train_loss']:.4f}"]
            parts += [f"test error {line['test_error']:.2%}", f"{line['seconds']:,.0f} s"]
            typer.echo("  ".join(parts))
        shown = len(opened.record)
        if not follow or _state(opened) != "running":
            return
        time.sleep(seconds)
