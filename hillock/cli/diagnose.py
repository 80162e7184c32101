"""`hillock diagnose`: what is wrong with a run, or with anybody's network, and what to try."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hillock.cli import door
from hillock.errors import UsageError

if TYPE_CHECKING:
    from hillock.diagnosis import Diagnosis


def diagnose(
    target: Annotated[str | None, typer.Argument(help="Run folder, or FILE.py:FUNCTION that builds a network.")] = None,
    data: door.Data = None,
    image_size: door.ImageSize = None,
    samples: Annotated[int, typer.Option("--samples", min=1, help="Pictures to look at.")] = 512,
    explain: Annotated[str | None, typer.Option("--explain", help="Say what a rule means, and stop.")] = None,
    json: door.Json = False,
    quiet: door.Quiet = False,
) -> None:
    """Examine a network: dead units, saturation, vanishing gradients and more, with evidence and remedies.

        hillock diagnose runs/digits-mlp20-sigmoid

        hillock diagnose model.py:build_model --data digits

    Exit code: 0 healthy, 1 findings, 2 a value that cannot be used, 3 crashed.
    """
    if explain is not None:
        from hillock.diagnosis.rules import find

        typer.echo(find(explain).explain())
        return
    if target is None:
        raise UsageError("a run folder or FILE.py:FUNCTION", got="nothing", instead="hillock diagnose runs/NAME")
    diagnosis = examined(target, data=data, image_size=image_size, samples=samples)
    if json:
        typer.echo(diagnosis.to_json())
    elif not quiet or not diagnosis.healthy:
        from hillock.report.health import diagnosis_text

        typer.echo(diagnosis_text(diagnosis, title=target))
    raise typer.Exit(0 if diagnosis.healthy else 1)


def examined(target: str, *, data: str | None, image_size: int | None, samples: int) -> Diagnosis:
    """Return the diagnosis of a run folder or of a network that a function in a file builds."""
    from hillock import diagnosis

    return diagnosis.diagnose_run(target, samples=samples)
