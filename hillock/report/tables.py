"""Tables for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from hillock.report import wording

if TYPE_CHECKING:
    from hillock.comparison import Comparison

__all__ = ["VERDICT_STYLES", "comparison_table"]

VERDICT_STYLES = {
    "better": "bold green",
    "worse": "bold red",
    "equivalent": "bold blue",
    "undecided": "yellow",
    "reference": "dim",
}


def comparison_table(comparison: Comparison) -> Table:
    """Return the verdicts as a table of 80 columns: the reference first, then the arms from best to worst."""
    study = comparison.study
    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("activation", overflow="fold")
    table.add_column(wording.metric_name(study.metric).replace(" ", "\n"), justify="right", no_wrap=True)
    unit = "points" if wording.is_share(study.metric) else "nats"
    table.add_column(f"{unit} from\n{study.reference}", justify="right", no_wrap=True)
    table.add_column(f"{study.level:.0%} interval", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("p", justify="right", no_wrap=True)
    table.add_column("healthy", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    for arm in sorted(comparison.arms, key=lambda arm: (arm.verdict != "reference", arm.difference)):
        is_reference = arm.verdict == "reference"
        table.add_row(
            arm.name,
            wording.score(arm.mean, study.metric),
            "" if is_reference else wording.difference(arm.difference, study.metric),
            "" if is_reference else wording.interval(arm.interval, study.metric),
            Text(arm.verdict, style=VERDICT_STYLES[arm.verdict]),
            "" if is_reference else wording.p_value(arm.p_value),
            f"{len(arm.failures)} failed" if arm.failures else f"{arm.health.healthy} of {arm.health.examined}",
            wording.time_ratio(arm),
        )
    return table
