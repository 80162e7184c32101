"""`hillock export`: a run's network as files for elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hillock.cli import door
from hillock.cli.predict import Weights

__all__ = ["export"]


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a run, for example runs/clothing.")],
    formats: Annotated[
        str, typer.Option("--formats", help="Of safetensors, torch and onnx, separated by commas.")
    ] = "safetensors,torch,onnx",
    weights: Annotated[Weights, typer.Option("--weights", help="The last weights or the best.")] = Weights.last,
    out: door.Out = None,
    json: door.Json = False,
) -> None:
    """Write a run's network as safetensors, a torch.export program and ONNX, with preprocessing and a model card.

        hillock export runs/clothing --formats onnx --out exported

    Without --out the files go to RUN/export. Each program is run again and compared with the network.
    """
    from hillock.training import Run
    from hillock.training.exporting import export_run

    folder = out or run / "export"
    written = export_run(Run.open(run), folder, tuple(door.split_names(formats)), weights=weights.value)
    if json:
        door.emit_json({"folder": str(folder), "files": written})
        return
    for name, facts in written.items():
        deviation = facts.get("largest_deviation")
        checked = "" if deviation is None else f", checked: largest deviation {deviation:.1e}"
        typer.echo(f"{folder / name}: {facts['bytes']:,} bytes{checked}")
