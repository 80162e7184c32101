"""`hillock activations`: the catalogue as a table, and the card of one function."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hillock.cli import door

if TYPE_CHECKING:
    from hillock.activations import Activation, Card

__all__ = ["activations"]


class Side(StrEnum):
    """Where a function saturates."""

    both = "both"
    left = "left"
    right = "right"
    none = "none"


def activations(
    name: Annotated[
        str | None,
        typer.Argument(help="Name or alias for one card; or your own, as NAME=FORMULA, for example 'mine=x*tanh(x)'."),
    ] = None,
    family: Annotated[
        str | None, typer.Option("--family", help="Only this family, for example rectifier, gated, aggregate.")
    ] = None,
    monotone: Annotated[
        bool | None, typer.Option("--monotone/--not-monotone", help="Only those that never (or that do) turn.")
    ] = None,
    zero_centred: Annotated[
        bool | None, typer.Option("--zero-centred/--not-zero-centred", help="Only odd functions, or only the others.")
    ] = None,
    saturating: Annotated[
        Side | None, typer.Option("--saturating", help="Only those whose slope goes to 0 on that side.")
    ] = None,
    learned: Annotated[
        bool | None, typer.Option("--learned/--fixed", help="Only those with (or without) trained parameters.")
    ] = None,
    since: Annotated[int | None, typer.Option("--since", help="Only those published in this year or later.")] = None,
    until: Annotated[int | None, typer.Option("--until", help="Only those published in this year or earlier.")] = None,
    json: door.Json = False,
    bibtex: Annotated[bool, typer.Option("--bibtex", help="Print the BibTeX entries and nothing else.")] = False,
    html: Annotated[Path | None, typer.Option("--html", help="Write the card or cards as one HTML page.")] = None,
) -> None:
    """List the activations, or show one: formula, slope, plot, gain, where frameworks differ, source.

    Examples:

        hillock activations --family gated --since 2015

        hillock activations mish

        hillock activations gelu --bibtex
    """
    entries = (
        [_entry(name)]
        if name is not None
        else _chosen(family, monotone, zero_centred, saturating, learned, since, until)
    )
    if bibtex:
        sources = {entry.source.key: entry.source for entry in entries if entry.source is not None}
        typer.echo("\n\n".join(source.bibtex() for source in sources.values()))
        return
    if html is not None:
        _page(entries, html)
        door.console(to_stderr=True).print(f"wrote {html}")
    if json:
        found = [_facts(entry) for entry in entries]
        door.emit_json(found[0] if name is not None else found)
    elif name is not None and html is None:
        _show(entries[0])
    elif html is None:
        _table(entries)


def _entry(name: str) -> Activation | Card:
    from hillock.activations import Activation
    from hillock.activations.catalogue import lookup

    own, equals, formula = name.partition("=")
    return Activation(name=own.strip(), formula=formula.strip()) if equals else lookup(name)


def _chosen(
    family: str | None,
    monotone: bool | None,
    zero_centred: bool | None,
    saturating: Side | None,
    learned: bool | None,
    since: int | None,
    until: int | None,
) -> list[Activation | Card]:
    """Return the entries that pass every filter; a filter on shape leaves aggregates out."""
    from hillock.activations import CATALOGUE, Activation
    from hillock.errors import UsageError

    if family is not None:
        door.check_name("family", family, {entry.family for entry in CATALOGUE})
    kept: list[Activation | Card] = []
    for entry in CATALOGUE:
        year = entry.source.year if entry.source is not None else 0
        fits = (
            (family in (None, entry.family)) and (since is None or year >= since) and (until is None or year <= until)
        )
        if isinstance(entry, Activation):
            assert entry.traits is not None
            fits &= monotone in (None, entry.traits.monotone) and zero_centred in (None, entry.traits.zero_centred)
            fits &= saturating is None or saturating.value == (entry.traits.saturating or "none")
            fits &= learned in (None, bool(entry.learned))
        else:
            fits &= monotone is None and zero_centred is None and saturating is None and learned is None
        if fits:
            kept.append(entry)
    if not kept:
        raise UsageError("filters that at least one activation passes", got="none that does", instead="fewer filters")
    return kept


def _facts(entry: Activation | Card) -> dict[str, Any]:
    """Return the facts of an entry, with what the kernels keep for backward."""
    from hillock import kernels
    from hillock.activations import Activation
    from hillock.activations.facts import facts

    found = facts(entry)
    if isinstance(entry, Activation):
        found["kept_for_backward"] = kernels.saved_plan(entry)
    return found


def _table(entries: list[Activation | Card]) -> None:
    from rich.table import Table

    from hillock.activations import Activation
    from hillock.activations.moments import gain

    shown = Table(title=f"{len(entries)} activations", title_justify="left", caption_justify="left")
    shown.caption = (
        "turns: not monotone; flat: the side on which the slope goes to 0; one card: hillock activations NAME"
    )
    for title in ("name", "family", "year", "gain", "turns", "symmetry", "flat", "parameters"):
        shown.add_column(title, justify="right" if title in {"year", "gain"} else "left", no_wrap=title == "name")
    for entry in entries:
        year = str(entry.source.year) if entry.source is not None else ""
        if isinstance(entry, Activation):
            assert entry.traits is not None
            marks = {True: " learned", False: ""}
            names = ", ".join(p.name + marks[p.learned] + (" drawn" if p.drawn else "") for p in entry.parameters)
            if len(entry.learned) > 1:
                names = f"{len(entry.learned)} learned"
            traits = entry.traits
            shown.add_row(
                entry.name, entry.family, year, f"{gain(entry):.4g}", "" if traits.monotone else "yes",
                traits.symmetry or "", traits.saturating or "", names,
            )  # fmt: skip
        else:
            shown.add_row(entry.name, entry.family, year, "", "", "", "", entry.layer.removeprefix("hillock.layers."))
    door.console().print(shown)


def _show(entry: Activation | Card) -> None:
    """Print the card of one entry."""
    from rich.table import Table
    from rich.text import Text

    from hillock.activations import Activation
    from hillock.activations.facts import curve
    from hillock.report.of_activation import describe
    from hillock.report.terminal_plot import plot

    console = door.console()
    found = _facts(entry)
    console.print(Text(entry.name, "bold"), Text(f"  {found['family']}", "dim"))
    console.print()
    console.print(Text(f"  φ(x)  = {found['formula']}"))
    if isinstance(entry, Activation):
        console.print(Text(f"  φ'(x) = {found['slope']}"))
        console.print()
        x, values, slopes = curve(entry)
        console.print(plot(x, [(slopes, "yellow"), (values, "bold cyan")], width=min(72, console.width - 12)))
        console.print(Text("         φ ", "bold cyan"), Text("φ'", "yellow"), sep="")
    console.print()
    grid = Table.grid(padding=(0, 2))
    for label, text in describe(found):
        grid.add_row(Text(label, "dim"), Text(text))
    console.print(grid)
    console.print()
    for remark in found["remarks"]:
        console.print(Text(f"- {remark}"))
    if found["source"]:
        console.print(Text(f"\n{found['source']}", "dim"))


def _page(entries: list[Activation | Card], path: Path) -> None:
    from hillock.activations import Activation
    from hillock.activations.facts import curve
    from hillock.report.of_activation import activation_page

    cards = [
        (
            _facts(entry),
            curve(entry) if isinstance(entry, Activation) else None,
            entry.source.bibtex() if entry.source is not None else "",
        )
        for entry in entries
    ]
    activation_page(cards, path)
