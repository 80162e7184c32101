"""A diagnosis as text for the terminal and as figures for a page."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hillock.diagnosis import Diagnosis, Finding

__all__ = ["diagnosis_text", "grouped"]

WIDTH = 110


def grouped(findings: Iterable[Finding]) -> list[tuple[Finding, Sequence[Finding]]]:
    """Return findings of one rule and severity as one: the first (worst) stands for the rest."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.rule, finding.severity), []).append(finding)
    return [(group[0], group[1:]) for group in groups.values()]


def diagnosis_text(diagnosis: Diagnosis, *, title: str = "") -> str:
    """Return the diagnosis as a person reads it: the verdict, what was found and what to try, what was not seen."""
    facts = diagnosis.facts
    verdict = "healthy" if diagnosis.healthy else f"not healthy ({diagnosis.severity})"
    lines = [f"{title}: {verdict}" if title else verdict]
    lines.append(
        f"  {facts.get('sites', 0)} activations and {facts.get('parameters', 0)} parameter tensors on "
        f"{facts.get('samples', 0)} samples in {facts.get('probe_seconds', 0)} s" + _watching(diagnosis)
    )
    for finding, others in grouped(diagnosis.findings):
        lines += ["", f"{finding.severity.upper()} {finding.rule} at {finding.where}{_further(others)}"]
        lines += _wrapped(finding.explanation)
        lines += _wrapped(f"Try: {'; '.join(finding.remedies)}.")
    if diagnosis.not_seen:
        lines += ["", "Not seen:", *(f"  {line}" for line in diagnosis.not_seen)]
    return "\n".join(lines)


def _further(others: Sequence[Finding]) -> str:
    if not others:
        return ""
    places = ", ".join(finding.where for finding in others[:3]) + (", ..." if len(others) > 3 else "")
    return f" and {len(others)} more ({places})"


def _watching(diagnosis: Diagnosis) -> str:
    share = diagnosis.facts.get("watching_share")
    return "" if share is None else f"; watching took {100 * float(share):.2g} % of the training time"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="  ")
