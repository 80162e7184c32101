"""`hillock diagnose`: what is wrong with a run, or with anybody's network, and what to try."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hillock.cli import door
from hillock.errors import UsageError

if TYPE_CHECKING:
    from hillock.diagnosis import Diagnosis


def diagnose(
    target: Annotated[str | None, typer.Argument(help="Run folder or its checkpoint, or FILE.py:FUNCTION.")] = None,
    data: door.Data = None,
    image_size: door.ImageSize = None,
    samples: Annotated[int, typer.Option("--samples", min=1, help="Pictures to look at.")] = 512,
    stage: Annotated[str, typer.Option("--stage", help="For FILE.py: initial, training or trained.")] = "initial",
    against: Annotated[
        Path | None, typer.Option("--against", help="Run of a shallower network, trained alike: is depth the fault?")
    ] = None,
    fail_on: Annotated[
        str | None, typer.Option("--fail-on", help="Exit with 1 for these alone: RULE[>x],... or a severity.")
    ] = None,
    baseline: Annotated[Path | None, typer.Option("--baseline", help="Known findings: report only new ones.")] = None,
    write_baseline: Annotated[Path | None, typer.Option("--write-baseline", help="Accept all findings.")] = None,
    sarif: Annotated[Path | None, typer.Option("--sarif", help="Also write SARIF 2.1.0 to this file.")] = None,
    junit: Annotated[Path | None, typer.Option("--junit", help="Also write JUnit XML to this file.")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Also write a run's page (curves, depth) here.")] = None,
    explain: Annotated[str | None, typer.Option("--explain", help="Say what a rule means, and stop.")] = None,
    show: Annotated[
        str | None, typer.Option("--show", help="Produce a phenomenon and show it; `list` names them.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Examine a run again whenever it has moved on.")] = False,
    json: door.Json = False,
    quiet: door.Quiet = False,
) -> None:
    """Examine a network: dead units, saturation, vanishing gradients and more, with evidence and remedies.

        hillock diagnose runs/digits-mlp20-sigmoid

        hillock diagnose model.py:build_model --data digits --fail-on 'vanishing,saturated>0.2'

        hillock diagnose runs/digits-plain56-relu --against runs/digits-plain20-relu

        hillock diagnose runs/digits-mlp20-sigmoid/checkpoint.pt

        hillock diagnose --explain vanishing

        hillock diagnose --show dead-units

    Exit code: 0 healthy, 1 findings, 2 a value that cannot be used, 3 crashed.
    """
    if explain is not None or show is not None:
        _tell(explain, show, json=json)
        return
    from hillock.diagnosis import exchange

    target = _checked(target, against, html)
    wanted = None if fail_on is None else exchange.demands(fail_on)
    known = frozenset[str]() if baseline is None else exchange.known_findings(baseline)
    if watch:
        _follow(Path(target), samples)
    diagnosis = examined(target, data=data, image_size=image_size, samples=samples, stage=stage, against=against)
    if html is not None:  # the page shows known findings too
        _write_page(target, diagnosis, html)
    if write_baseline is not None:
        exchange.write_baseline(diagnosis, write_baseline)
        known = known | {finding.fingerprint for finding in diagnosis.findings}
    diagnosis = dataclasses.replace(diagnosis, findings=exchange.new_findings(diagnosis, known))
    if sarif is not None:
        sarif.write_text(exchange.sarif(diagnosis, target=target), encoding="utf-8")
    if junit is not None:
        junit.write_text(exchange.junit(diagnosis, target=target), encoding="utf-8")
    counted = exchange.unmet(diagnosis.findings, wanted)
    if json:
        typer.echo(diagnosis.to_json())
    elif not quiet or counted:
        from hillock.report.health import diagnosis_text

        typer.echo(diagnosis_text(diagnosis, title=target))
    raise typer.Exit(1 if counted else 0)


def _checked(target: str | None, against: Path | None, html: Path | None) -> str:
    """Return the target, if it is one and can be examined in the ways asked for."""
    if target is None:
        raise UsageError("a run folder or FILE.py:FUNCTION", got="nothing", instead="hillock diagnose runs/NAME")
    if against is not None and not Path(target).is_dir():
        raise UsageError("a run's folder for --against", got=target, instead="hillock diagnose RUN --against RUN")
    if html is not None and not Path(target).is_dir():
        raise UsageError("a run's folder for --html", got=target, instead="hillock diagnose runs/NAME --html page.html")
    return target


def _write_page(folder: str, diagnosis: Diagnosis, page: Path) -> None:
    from hillock.report import run_page
    from hillock.training import Run

    run_page(Run.open(folder), diagnosis, page)


def _tell(explain: str | None, show: str | None, *, json: bool) -> None:
    """Explain a rule, or produce a phenomenon."""
    if explain is not None:
        from hillock.diagnosis.rules import find

        typer.echo(find(explain).explain())
        return
    from hillock.diagnosis.phenomena import PHENOMENA, produce

    if show == "list":
        for phenomenon in PHENOMENA:
            typer.echo(f"{phenomenon.name:22} {phenomenon.claim}")
        return
    shown = produce(show or "")
    if json:
        door.emit_json(shown.to_dict())
    else:
        typer.echo(shown.text)
    raise typer.Exit(0 if shown.holds else 1)


def examined(
    target: str,
    *,
    data: str | None,
    image_size: int | None,
    samples: int,
    stage: str = "initial",
    against: Path | None = None,
) -> Diagnosis:
    """Return the diagnosis of a run folder or of a network that a function in a file builds."""
    from hillock import diagnosis

    if Path(target).is_dir() or ":" not in target:
        return diagnosis.diagnose_run(target, samples=samples, against=against)
    from hillock.data import load
    from hillock.diagnosis.foreign import built_network, probe_batches

    model = built_network(target)
    if data is None:
        raise UsageError("--data for a network from a file", got="nothing", instead="--data digits")
    dataset = load(data, image_size=image_size)
    return diagnosis.diagnose(
        model, probe_batches(dataset), stage=stage, samples=samples, expected_classes=len(dataset.class_names)
    )


def _follow(folder: Path, samples: int) -> None:
    """Examine an unfinished run after every checkpoint and print what is new, until it is finished."""
    from hillock.diagnosis import diagnose_run
    from hillock.errors import CheckpointError
    from hillock.report.health import diagnosis_text
    from hillock.training import Run

    checkpoint = folder / "checkpoint.pt"
    seen = 0.0
    while not Run.open(folder).is_finished:
        moved = checkpoint.stat().st_mtime if checkpoint.exists() else 0.0
        if moved > seen:
            seen = moved
            try:
                typer.echo(diagnosis_text(diagnose_run(folder, samples=samples), title=f"{folder} so far") + "\n")
            except CheckpointError as problem:  # being written at this moment
                typer.echo(str(problem), err=True)
        time.sleep(FOLLOW_SECONDS)


# How often `--watch` looks whether there is a new checkpoint.
FOLLOW_SECONDS = 2.0
