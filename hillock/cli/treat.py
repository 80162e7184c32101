"""`hillock treat`: test which remedy helps a sick run, in short paired trainings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hillock.cli import door


def treat(
    folder: Annotated[Path, typer.Argument(help="Folder of the run.")],
    seeds: Annotated[int, typer.Option("--seeds", min=3, help="Paired trainings that confirm a remedy.")] = 5,
    steps: Annotated[int, typer.Option("--steps", min=10, help="Length of each training.")] = 120,
    out: Annotated[Path | None, typer.Option("--out", help="Write the recipe that results to this file.")] = None,
    json: door.Json = False,
    quiet: door.Quiet = False,
) -> None:
    """Diagnose a run, try the remedies its findings name, and say with an interval what helps.

        hillock treat runs/digits-mlp20-sigmoid --out better.toml

    Exit code: 0 healthy or repaired, 1 nothing helped, 2 a value that cannot be used.
    """
    from hillock.diagnosis.treat import treat_run

    def progress(line: str) -> None:
        if not (quiet or json):
            typer.echo(line, err=True)

    diagnosis, treatment = treat_run(folder, seeds=seeds, steps=steps, progress=progress)
    if treatment is None:
        if json:
            door.emit_json({"healthy": True, "treatment": None})
        else:
            typer.echo(f"{folder}: healthy, nothing to treat")
        return
    if out is not None and treatment.recipe is not None:
        out.write_text(treatment.recipe.to_toml(), encoding="utf-8")
    if json:
        door.emit_json({"healthy": False, "rules": sorted({f.rule for f in diagnosis.findings}), **treatment.to_dict()})
    else:
        typer.echo(treatment.text)
        if out is not None:
            typer.echo(
                f"recipe written to {out}" if treatment.recipe is not None else "no recipe can say this; not written"
            )
    raise typer.Exit(0 if treatment.chosen is not None else 1)
