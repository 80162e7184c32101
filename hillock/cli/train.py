"""`hillock train`: a recipe, or a few flags, becomes a run's folder."""

from __future__ import annotations

import contextlib
import logging
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hillock.cli import door
from hillock.errors import UsageError

if TYPE_CHECKING:
    from hillock.training import Recipe, Run

Switch = Literal["auto", "on", "off"]


def _option(help_text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=help_text, **more)


def train(
    data: door.Data = None,
    network: door.Network = None,
    activation: door.ActivationName = None,
    epochs: door.Epochs = None,
    seed: door.Seed = None,
    image_size: door.ImageSize = None,
    recipe: door.RecipeName = None,
    batch_size: Annotated[int | None, _option("Pictures a step.", min=1)] = None,
    learning_rate: Annotated[float | None, _option("The peak rate.")] = None,
    weight_decay: Annotated[float | None, _option("Weight decay.")] = None,
    optimizer: Annotated[Literal["sgd", "adamw", "muon"] | None, _option("The update rule.")] = None,
    validation_share: Annotated[float | None, _option("Share of the training pictures set aside.")] = None,
    broken: Annotated[
        Literal["refuse", "skip"] | None, _option("Unreadable pictures: refuse the data or skip.")
    ] = None,
    weights: Annotated[str | None, _option("Weights file or run folder to start from (fine-tuning).")] = None,
    settings: Annotated[
        list[str] | None,
        _option("Any recipe setting as NAME=VALUE (TOML), as in schedule.warmup_steps=400.", "--set"),
    ] = None,
    retries: Annotated[int | None, _option("Halve the rate and go back at most this often (default 2).", min=0)] = None,
    precision: Annotated[Literal["auto", "float32", "bfloat16"] | None, _option("Of forward and backward.")] = None,
    channels_last: Annotated[Switch | None, _option("Memory layout of pictures.")] = None,
    compile: Annotated[Switch | None, _option("torch.compile.")] = None,
    fused: Annotated[Switch | None, _option("Fused normalisation and activation, own backward kernels.")] = None,
    allocator: Annotated[Literal["keep", "system"], _option("keep: freed memory stays with the process.")] = "keep",
    threads: Annotated[int | None, _option("CPU threads.", min=1)] = None,
    memory: Annotated[Literal["eager", "lean"] | None, _option("lean: keep the least for backward.")] = None,
    health: Annotated[int, _option("Steps between health checks (0: none).", min=0)] = 100,
    tensorboard: Annotated[bool, _option("Also write TensorBoard files (extra: tensorboard).")] = False,
    out: door.Out = None,
    resume: door.Resume = False,
    overwrite: door.Overwrite = False,
    device: door.Device = None,
    json: door.Json = False,
    quiet: door.Quiet = False,
) -> None:
    """Train a network and keep everything about it in one folder.

        hillock train --data digits --network resnet20 --activation gelu --epochs 10

        hillock train --recipe resnet-cifar-2015 --data uoft-cs/cifar10 --out runs/paper

    The folder holds recipe.toml, record.jsonl (a line an evaluation), health.jsonl, checkpoint.pt,
    weights.safetensors and report.html. Ctrl-C leaves a checkpoint; the same command with --resume goes on bit for bit.
    """
    if allocator == "keep":
        from hillock.training.allocator import keep_memory

        keep_memory()
    given = {
        "data": data,
        "network": network,
        "activation": activation,
        "seed": seed,
        "image_size": image_size,
        "batch_size": batch_size,
        "optimizer.learning_rate": learning_rate,
        "optimizer.weight_decay": weight_decay,
        "optimizer.kind": optimizer,
        "validation_share": validation_share,
        "broken": broken,
        "weights": weights,
        "retries": retries,
        "precision": precision,
        "channels_last": channels_last,
        "compile": compile,
        "fused": fused,
        "threads": threads,
        "memory": memory,
        "device": device,
    }
    chosen = recipe_from(recipe, epochs, given, settings or [])
    folder = out if out is not None else Path("runs") / chosen.title
    from hillock import training

    with _log_to_terminal(quiet=quiet or json):
        run = training.train(
            chosen,
            out=folder,
            resume=resume,
            overwrite=overwrite,
            observers=_observers(chosen, health, tensorboard),
            quiet=quiet or json,
        )
    if os.environ.get("RANK", "0") == "0":
        _say(run, _write_page(run), json=json)


def recipe_from(start: str | None, epochs: int | None, given: dict[str, Any], settings: list[str]) -> Recipe:
    """Return the recipe that flags describe: `start` (a name, a file, or the defaults) with what was given put in."""
    from hillock.training import Recipe

    recipe = Recipe.load(start) if start is not None else Recipe(retries=2)
    if epochs is not None:
        recipe = recipe.shortened(epochs)
    changes = {name: value for name, value in given.items() if value is not None}
    return recipe.replace(**changes, **dict(_setting(text) for text in settings))


def _setting(text: str) -> tuple[str, Any]:
    """Split NAME=VALUE; the value is TOML, and a bare word is text."""
    import tomllib

    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise UsageError("--set NAME=VALUE", got=repr(text), instead="--set label_smoothing=0.1")
    try:
        return name.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name.strip(), value.strip()


def _observers(recipe: Recipe, health: int, tensorboard: bool) -> list[Any]:
    from hillock.data.text import looks_like_text

    observers: list[Any] = []
    if health and not looks_like_text(recipe.data):  # the rules of diagnosis are about classifiers of pictures
        from hillock.diagnosis import HealthObserver

        observers.append(HealthObserver(every=health))
    if tensorboard:
        from hillock.training.tensorboard import TensorBoard

        observers.append(TensorBoard())
    return observers


@contextlib.contextmanager
def _log_to_terminal(*, quiet: bool) -> Iterator[None]:
    """Show what the library has to say (what it chose for the hardware, what it recovered from) on standard error."""
    logger = logging.getLogger("hillock")
    before = logger.level
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("hillock train: %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def _write_page(run: Run) -> Path:
    """Write the run's page. Its health is left to `hillock diagnose --html`: that takes as long as an epoch."""
    from hillock.report import run_page

    path: Path = run_page(run, None, run.folder / "report.html")
    return path


def _say(run: Run, page: Path, *, json: bool) -> None:
    from hillock.training.progress import curve

    final, findings = run.final, _findings(run)
    if json:
        door.emit_json({"folder": str(run.folder), "final": final, "findings": findings, "report": str(page)})
        return
    if len(run.record) > 1:
        typer.echo("training loss " + curve([line["train_loss"] for line in run.record]))
        typer.echo("test error    " + curve([line["test_error"] for line in run.record]))
    for finding in findings or []:
        typer.echo(
            f"health: {finding['severity']} {finding['rule']} at {finding['where']}; see: hillock diagnose {run.folder}"
        )
    if findings == []:
        typer.echo("health: nothing found at the last check")
    parts = [f"test error {final['test_error']:.2%}", f"test loss {final['test_loss']:.4f}"]
    if run.facts.get("kind") == "text":
        parts.append(f"perplexity {math.exp(min(final['test_loss'], 700)):,.1f}")
    if final["validation_error"] is not None:
        parts.insert(0, f"validation error {final['validation_error']:.2%}")
    typer.echo(f"{run.folder}: " + ", ".join(parts) + f" after {final['epoch']:g} epochs, {final['seconds']:,.0f} s")


def _findings(run: Run) -> list[dict[str, Any]] | None:
    """Return what the last health check of the run found, or None when there was none."""
    from hillock.training.run_folder import HEALTH, read_lines

    checks = [line["findings"] for line in read_lines(run.folder / HEALTH) if "findings" in line]
    return checks[-1] if checks else None
