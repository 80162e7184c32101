"""`hillock bench train`: how fast a training step is here, beside torch's own ways."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import Annotated, Any

import typer

from hillock.cli import door

__all__ = ["train"]


def train(
    network: Annotated[str, typer.Option(help="The network to train.")] = "resnet20",
    activation: Annotated[str, typer.Option(help="Its activation.")] = "relu",
    image_size: Annotated[int, typer.Option(min=1, help="Side of the pictures, in pixels.")] = 32,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures a step.")] = 128,
    threads: Annotated[str, typer.Option(help="Numbers of threads, separated by commas.")] = "1,2",
    ways: Annotated[str, typer.Option(help="Ways to train, the last one is what ratios refer to.")] = (
        "plain,stock,tuned,eager,hillock"
    ),
    rounds: Annotated[int, typer.Option(min=2, help="Turns each way gets.")] = 8,
    steps: Annotated[int, typer.Option(min=1, help="Steps a turn; their median counts.")] = 4,
    out: Annotated[Path | None, typer.Option(help="Folder for the result file train_step_NETWORK_SIZE.json.")] = None,
    json: door.Json = False,
) -> None:
    """Time a training step of plain torch, its best switches, and hillock, taking turns in one run.

        hillock bench train --network resnet20 --threads 1,2

    Ratios are what to look at: the ways take turns, so a machine whose speed drifts slows all of them.
    """
    from hillock.training.step_timing import Setting, time_ways

    talk = door.console(to_stderr=True)
    results = []
    for count in door.split_names(threads):
        setting = Setting(network, activation, image_size, batch_size, int(count))
        results.append(time_ways(setting, door.split_names(ways), rounds=rounds, steps=steps, progress=talk.print))
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        target = out / f"train_step_{network}_{image_size}.json"
        stored = {"results": results, "rounds": rounds, "provenance": results[0]["provenance"]}
        target.write_text(json_text.dumps(stored, indent=1) + "\n")
    if json:
        door.emit_json(results)
        return
    for result in results:
        _print(result)


def _print(result: dict[str, Any]) -> None:
    from rich.table import Table

    setting = result["setting"]
    title = "{network} {activation}, {batch_size} pictures of {image_size} pixels, {threads} threads".format(**setting)
    reference = list(result["ways"])[-1]
    table = Table(title=title, box=None, title_justify="left")
    for heading in ("way", "images/s", f"time over {reference}", "lowest to highest", "first steps", "memory"):
        table.add_column(heading, justify="left" if heading == "way" else "right")
    for name, way in result["ways"].items():
        ratio = way[f"time_over_{reference}"]
        table.add_row(
            f"{name}: {way['words']}",
            f"{way['images_per_second']:.0f}",
            f"{ratio['median']:.2f}",
            f"{ratio['low']:.2f} to {ratio['high']:.2f}",
            f"{way['warm_up_seconds']:.1f} s",
            f"{way['peak_resident_megabytes']:.0f} MB",
        )
    door.console().print(table)
