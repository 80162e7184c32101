"""`hillock summary`: the table of a network's layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from hillock.cli import door

if TYPE_CHECKING:
    from torch import nn

    from hillock.networks import LayerTable

__all__ = ["summary"]

# Columns that fit a terminal of at least so many characters; --markdown and --json have everything.
FITTING = {
    150: None,
    112: ("layer", "kernel", "stride", "output", "field", "parameters", "multiply-adds", "kept lean"),
    0: ("layer", "kernel", "output", "parameters", "multiply-adds"),
}


def summary(
    network: Annotated[
        str | None,
        typer.Argument(
            help="Name of a network (see --list), timm/NAME for one of timm's, or MODULE:FUNCTION for your own."
        ),
    ] = None,
    size: Annotated[
        str | None, typer.Option("--input", help="CHANNELSxHEIGHTxWIDTH of a picture, for example 3x227x227.")
    ] = None,
    activation: door.ActivationName = None,
    classes: Annotated[int | None, typer.Option("--classes", min=1, help="Outputs of the network.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False,
    memory: Annotated[
        bool, typer.Option("--memory/--no-memory", help="Run it too, to measure what is kept for backward (bytes).")
    ] = True,
    listed: Annotated[bool, typer.Option("--list", help="Print the names of networks and stop.")] = False,
    json: door.Json = False,
) -> None:
    """Print every layer of a network: sizes, receptive field, parameters, connections, multiply-adds, memory.

    Numbers are for one picture; "kept" are the bytes that stay for backward, without and with lean mode.

    Example: hillock summary alexnet --input 3x227x227 --classes 1000
    """
    from hillock.errors import UsageError
    from hillock.networks import names, summarise

    if listed:
        door.emit_json(names()) if json else typer.echo("\n".join(names()))
        return
    if network is None:
        raise UsageError("the name of a network", got="none", instead="hillock summary resnet20")
    shape = None if size is None else _shape(size)
    model = _model(network, shape, activation, classes)
    table = summarise(model, shape, memory=memory)
    if json:
        door.emit_json(table.to_dict())
    elif markdown:
        typer.echo(table.to_markdown())
    else:
        _print(table)


def _shape(text: str) -> tuple[int, int, int]:
    from hillock.errors import UsageError

    parts = text.lower().replace("×", "x").split("x")
    if len(parts) != 3 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise UsageError("CHANNELSxHEIGHTxWIDTH for --input", got=repr(text), instead="--input 3x224x224")
    channels, height, width = (int(part) for part in parts)
    return channels, height, width


def _model(name: str, shape: tuple[int, int, int] | None, activation: str | None, classes: int | None) -> nn.Module:
    """Return a network by name: one of ours, timm's, or what a user's function returns."""
    from hillock.errors import UsageError
    from hillock.networks import network

    options: dict[str, Any] = {}
    if name.startswith("timm/") or ":" in name:
        if activation is not None or classes is not None:
            raise UsageError("--activation and --classes with hillock's own networks only", got=name)
        return _timm(name.removeprefix("timm/")) if name.startswith("timm/") else _own(name)
    if shape is not None:
        options.update(input_channels=shape[0], image_size=shape[1])
        if shape[1] != shape[2]:
            raise UsageError("a square picture for --input", got="x".join(map(str, shape)))
    if activation is not None:
        options["activation"] = activation
    if classes is not None:
        options["num_classes"] = classes
    return network(name, **options)


def _timm(name: str) -> nn.Module:
    from hillock.errors import UnknownNameError, UsageError

    try:
        import timm
    except ImportError as error:
        raise UsageError("timm to be installed", got="none", instead="pip install 'hillock[timm]'") from error
    except RuntimeError as error:  # a torchvision that belongs to another torch breaks timm's import
        raise UsageError("a timm that can be imported", got=str(error)) from error
    if not timm.is_model(name):
        raise UnknownNameError("timm network", name, timm.list_models())
    model: nn.Module = timm.create_model(name, pretrained=False)
    return model


def _own(name: str) -> nn.Module:
    import importlib
    import sys

    from torch import nn

    from hillock.errors import UsageError

    module_name, _, function = name.partition(":")
    sys.path.insert(0, "")  # a user's file lies in the current folder
    try:
        made = getattr(importlib.import_module(module_name), function)()
    except (ImportError, AttributeError) as error:
        raise UsageError("MODULE:FUNCTION that returns a network", got=f"{name!r} ({error})") from error
    finally:
        sys.path.remove("")
    if not isinstance(made, nn.Module):
        raise UsageError(f"a torch.nn.Module from {name}()", got=type(made).__name__)
    return made


def _print(table: LayerTable) -> None:
    from rich.table import Table

    console = door.console()
    header, *rows, total = table.cells()
    fitting = next(names for width, names in FITTING.items() if console.width >= width)
    columns = [c for c in range(len(header)) if fitting is None or header[c] in fitting]
    shown = Table(title=f"{table.network}, input {'×'.join(map(str, table.input_size))}", title_justify="left")
    for column in columns:
        number = column >= header.index("parameters")
        shown.add_column(header[column], justify="right" if number else "left", overflow="fold")
    for row in rows:
        shown.add_row(*(row[column] for column in columns))
    shown.add_section()
    shown.add_row(*(total[column] for column in columns), style="bold")
    console.print(shown)
    typer.echo(
        f"{table.parameters:,} parameters; {table.multiply_adds:,} multiply-adds in convolutions and linear layers "
        f"({table.multiply_adds_of_everything:,} with activations, normalisation and pooling)"
    )
