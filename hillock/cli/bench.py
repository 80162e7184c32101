"""`hillock bench`: measurements of this machine, each a sub-verb in a file of its own."""

from __future__ import annotations

from typing import Annotated

import typer

from hillock.cli.bench_kernels import kernels, show_status, verify
from hillock.cli.bench_train import train

__all__ = ["bench"]

bench = typer.Typer(no_args_is_help=True, help="Measure accuracy and speed on this machine.")
bench.command("verify")(verify)
bench.command("kernels")(kernels)
bench.command("train")(train)


@bench.callback(invoke_without_command=True)
def options(
    status: Annotated[bool, typer.Option("--status", help="Print which path computes what here, and why.")] = False,
) -> None:
    """Measure accuracy and speed on this machine."""
    if status:
        show_status()
