"""`hillock bench verify`, `bench kernels` and `bench --status`: how right and how fast the kernels are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from hillock.cli import door

__all__ = ["kernels", "show_status", "verify"]


def show_status() -> None:
    """Print which path computes which function, dtype and device, and why."""
    from hillock.kernels.status import status

    print(status())


def verify(
    out: Annotated[Path, typer.Option(help="Folder for the result file verify.json.")] = Path("benchmarks/results"),
    functions: Annotated[str | None, typer.Option(help="Names, separated by commas; all by default.")] = None,
    stride: Annotated[int, typer.Option(min=1, help="Take every n-th float32 only (odd); 1 takes all 2^32.")] = 1,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads; all cores by default.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Begin nothing new after this many seconds.")] = None,
) -> None:
    """Compare every kernel with an independent oracle, on every float32 input; resumable.

        hillock bench verify --functions silu,gelu

    Prints the largest error in ULP, where it is, and the share of results that are the nearest value.
    """
    from hillock.errors import UsageError
    from hillock.kernels import native
    from hillock.kernels.verify import exhaustive

    if not native.available():
        raise UsageError("the native kernels", got=native.reason(), instead="installing a C++ compiler")
    names = door.split_names(functions) if functions else None
    for name in names or ():
        door.check_name("native kernel", name, native.functions())
    exhaustive(out / "verify.json", names, stride=stride, seconds=seconds, workers=workers or os.cpu_count() or 1)


def kernels(
    out: Annotated[Path, typer.Option(help="Folder for the result file kernels.json.")] = Path("benchmarks/results"),
    functions: Annotated[str | None, typer.Option(help="Names, separated by commas; all that torch has.")] = None,
    sizes: Annotated[str, typer.Option(help="Exponents of two of the numbers of elements.")] = "12,16,20,24",
    dtypes: Annotated[str, typer.Option(help="float32, bfloat16, float16.")] = "float32,bfloat16",
    deviations: Annotated[str, typer.Option(help="Standard deviations of the inputs; 0: all in the tails.")] = "1,3,0",
    threads: Annotated[str, typer.Option(help="Numbers of threads.")] = "1,2",
    layouts: Annotated[str, typer.Option(help="contiguous, channels_last.")] = "contiguous,channels_last",
    compiled: Annotated[bool, typer.Option("--compiled", help="Time torch.compile beside the others.")] = False,
    seconds: Annotated[float | None, typer.Option(help="Begin nothing new after this many seconds.")] = None,
    turns: Annotated[int, typer.Option(min=3, help="Turns each candidate gets.")] = 11,
) -> None:
    """Time forward and backward beside torch and beside plain copies, taking turns in one run; resumable.

    hillock bench kernels --functions silu,gelu --sizes 16,20
    """
    from hillock.errors import UsageError
    from hillock.functional import silu
    from hillock.kernels import native
    from hillock.kernels.speed import TORCH, measure, overhead, settings

    if not native.available():
        raise UsageError("the native kernels", got=native.reason(), instead="installing a C++ compiler")
    names = door.split_names(functions) if functions else None
    for name in names or ():
        door.check_name("kernel with a counterpart in torch", name, TORCH)
    for name in door.split_names(dtypes):
        door.check_name("dtype", name, ("float32", "bfloat16", "float16"))
    for name in door.split_names(layouts):
        door.check_name("layout", name, ("contiguous", "channels_last"))
    wanted = settings(
        names,
        sizes=[int(size) for size in door.split_names(sizes)],
        dtypes=door.split_names(dtypes),
        deviations=[float(deviation) for deviation in door.split_names(deviations)],
        threads=[int(count) for count in door.split_names(threads)],
        layouts=door.split_names(layouts),
    )
    measure(out / "kernels.json", wanted, turns=turns, compiled=compiled, seconds=seconds)
    print(f"call of 16 elements, microseconds: {overhead(out / 'kernels.json', silu)}")
