"""`hillock lr`: which learning rate? A range test over several seeds."""

from __future__ import annotations

from typing import Annotated

import typer

from hillock.cli import door


def lr(
    data: door.Data = None,
    network: door.Network = None,
    activation: door.ActivationName = None,
    image_size: door.ImageSize = None,
    recipe: door.RecipeName = None,
    seeds: Annotated[int, typer.Option(help="Sweeps, each with its own weights and data order.", min=1)] = 5,
    low: Annotated[float, typer.Option(help="The rate a sweep starts with.")] = 1e-5,
    high: Annotated[float, typer.Option(help="The rate a sweep ends with at the latest.")] = 10.0,
    steps: Annotated[int, typer.Option(help="Updates a sweep.", min=10)] = 100,
    device: door.Device = None,
    json: door.Json = False,
    quiet: door.Quiet = False,
) -> None:
    """Find a learning rate: raise it until the loss climbs, over several seeds, and say how sure the result is.

        hillock lr --data digits --network resnet8 --activation mish

    The suggestion is a tenth of the rate with the lowest smoothed loss; the interval is Student's, over the seeds.
    """
    from hillock.cli.train import recipe_from
    from hillock.training.allocator import keep_memory
    from hillock.training.range_test import range_test

    keep_memory()
    given = {"data": data, "network": network, "activation": activation, "image_size": image_size, "device": device}
    chosen = recipe_from(recipe, None, given, [])
    console = door.console(to_stderr=True)

    def show(done: int, of: int) -> None:
        if not (quiet or json):
            console.print(f"sweep {done}/{of}", end="\r")

    result = range_test(chosen, seeds=range(seeds), low=low, high=high, steps=steps, progress=show)
    if json:
        door.emit_json(result.to_dict())
        return
    for sweep, suggestion in zip(result.sweeps, result.suggestions, strict=True):
        typer.echo(
            f"seed {sweep.seed}: lowest loss at {sweep.lowest:.2g}, climbs after {sweep.limit:.2g}: {suggestion:.2g}"
        )
    lower, upper = result.interval
    sure = f" (95 % interval {lower:.2g} to {upper:.2g}, {seeds} seeds)" if seeds > 1 else " (one seed: no interval)"
    typer.echo(f"suggested learning rate {result.suggestion:.2g}{sure}")
