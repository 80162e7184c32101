"""The page of one training: how it learned, and how healthy the network is."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hillock.report import figures, wording
from hillock.report.document import write_page

if TYPE_CHECKING:
    from hillock.diagnosis import Diagnosis, Finding, Profile
    from hillock.training.run import Run

__all__ = ["run_page"]

_FINDINGS_SHOWN = 12
_RECORD = ("epoch", "train_loss", "train_error", "validation_error", "test_error", "learning_rate", "images_per_second")


def run_page(run: Run, diagnosis: Diagnosis | None, path: Path | str) -> Path:
    """Write a training as one self-contained HTML file and return its path.

    `diagnosis` is what an examination of its network says; with None the page says that none was made.

    >>> run_page(Run.open("runs/first"), diagnose_run("runs/first"), "runs/first/report.html")  # doctest: +SKIP
    """
    recipe = run.recipe
    profiles = [] if diagnosis is None else [profile for profile in diagnosis.profiles if len(profile.where) > 1]
    drawn: dict[str, Mapping[str, Any]] = {
        "errors": _record_figure(run.record, ("train_error", "validation_error", "test_error"), "error (%)", 100.0),
        "losses": _record_figure(run.record, ("train_loss", "validation_loss", "test_loss"), "loss (nats)", 1.0),
        **{_profile_name(index): _profile_figure(profile) for index, profile in enumerate(profiles)},
    }
    findings = () if diagnosis is None else diagnosis.findings
    hidden = len(findings) - _FINDINGS_SHOWN
    write_page(
        Path(path),
        "run.html",
        drawn,
        title=f"{recipe.network} with {recipe.activation} on {Path(recipe.data).name or recipe.data}",
        lead=_lead(run),
        answers=_answers(run, diagnosis),
        examined=diagnosis is not None,
        findings=[_finding(finding) for finding in findings[:_FINDINGS_SHOWN]],
        more=f"and {hidden} more; hillock diagnose {run.folder} lists all" if hidden > 0 else "",
        not_seen=() if diagnosis is None else diagnosis.not_seen,
        profiles=[(_profile_name(index), _label(profile)) for index, profile in enumerate(profiles)],
        predicted=any(map(_has_prediction, profiles)),
        recipe=recipe.to_toml(),
        record_names=[name.replace("_", " ") for name in _RECORD],
        record=[[_cell(name, line.get(name)) for name in _RECORD] for line in run.record],
        facts=_facts(run.folder / "provenance.json"),
    )
    return Path(path)


def _lead(run: Run) -> str:
    line = run.final
    return f"{line['epoch']:g} epochs · seed {run.recipe.seed} · {wording.duration(line['seconds'])} of training"


def _answers(run: Run, diagnosis: Diagnosis | None) -> list[tuple[str, str]]:
    """Return the outcome: the score, then the worst of what was found."""
    line = run.final
    score = f"The network names {1 - line['test_error']:.1%} of the test pictures correctly."
    if diagnosis is None:
        return [("note", score), ("note", f"Its health was not examined: hillock diagnose {run.folder}")]
    if diagnosis.healthy:
        return [("healthy", f"{score} Nothing was found that hinders training.")]
    rules = list(dict.fromkeys(finding.rule for finding in diagnosis.findings if finding.severity != "note"))
    shown = wording.listed([rule.replace("_", " ") for rule in rules])
    return [("note", score), (diagnosis.severity or "warning", f"Found: {shown}.")]


def _finding(finding: Finding) -> dict[str, str]:
    interval = ""
    if finding.interval is not None:
        interval = f" (95 % interval {finding.interval[0]:.3g} to {finding.interval[1]:.3g})"
    return {
        "rule": finding.rule.replace("_", " "),
        "severity": finding.severity,
        "where": finding.where,
        "explanation": finding.explanation,
        "measured": f"{finding.value:.3g} {finding.unit}{interval}; the limit is {finding.threshold:.3g}",
        "remedies": ", ".join(finding.remedies),
    }


def _record_figure(
    record: Sequence[Mapping[str, Any]], names: Sequence[str], title: str, factor: float
) -> figures.Figure:
    epochs = [line["epoch"] for line in record]
    lines = {}
    for name in names:
        values = [line.get(name) for line in record]
        if any(value is not None for value in values):
            lines[wording.metric_name(name)] = (epochs, [None if v is None else factor * v for v in values])
    return figures.line_figure(lines, x_title="epoch", y_title=title)


def _profile_name(index: int) -> str:
    return f"profile-{index}"


def _label(profile: Profile) -> str:
    return f"{profile.name.replace('_', ' ')}: {profile.unit}"


def _has_prediction(profile: Profile) -> bool:
    return profile.predicted is not None and any(map(math.isfinite, profile.predicted))


def _profile_figure(profile: Profile) -> figures.Figure:
    """Return a profile over depth; logarithmic where it spans more than a factor of 20."""
    positive = [value for value in profile.measured if value > 0]
    log = len(positive) == len(profile.measured) and max(positive) > 20 * min(positive)
    depth = list(range(1, len(profile.where) + 1))
    lines: dict[str, tuple[Sequence[Any], Sequence[float | None]]] = {"measured": (depth, profile.measured)}
    if _has_prediction(profile):
        lines["predicted"] = (depth, profile.predicted or ())
    drawn = figures.line_figure(lines, x_title="activation site", y_title="", log=log, dashed=("predicted",))
    drawn["data"][0]["text"] = list(profile.where)
    drawn["data"][0]["hovertemplate"] = "%{text}: %{y:.3g}<extra></extra>"
    return drawn


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "–"
    if name.endswith("_error"):
        return wording.score(value, name)
    return f"{value:,.0f}" if name == "images_per_second" else f"{value:.4g}"


def _facts(path: Path) -> list[tuple[str, Any]]:
    if not path.exists():
        return []
    return [(name, value) for name, value in json.loads(path.read_text(encoding="utf-8")).items() if value is not None]
