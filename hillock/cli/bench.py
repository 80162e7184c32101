"""`hillock bench`: measurements of this machine, each a sub-verb in a file of its own."""

from __future__ import annotations

import typer

from hillock.cli.bench_train import train

__all__ = ["bench"]

bench = typer.Typer(no_args_is_help=True, help="Measure accuracy and speed on this machine.")
bench.command("train")(train)
