"""What a rule is: one phenomenon, its definition, its limits with their source, and the check that applies them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping

from hillock.diagnosis.evidence import Evidence
from hillock.diagnosis.finding import Finding
from hillock.errors import UsageError

__all__ = ["Rule", "listed", "percent", "ratio"]

Limits = Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Rule:
    """One phenomenon.

    **Arguments**

    - `id`: what `--fail-on` and `--explain` take. `title`: a few words.
    - `definition`: what is measured and when the rule fires, with the limits by name in braces, such as `{warning}`.
    - `limits`: the numbers, by name. `source`: who defined it, and where the numbers come from.
    - `why`: what it does to training. `remedies`: names for `hillock treat` first, then advice.
    - `check`: maps evidence and limits to findings.
    """

    id: str
    title: str
    definition: str
    limits: Limits
    unit: str
    source: str
    why: str
    remedies: tuple[str, ...]
    check: Callable[[Rule, Evidence, Limits], Iterable[Finding]]

    def __post_init__(self) -> None:
        # A definition that names a limit which does not exist must not survive the import.
        self.definition.format(**self.limits)

    def examine(self, evidence: Evidence, limits: Limits | None = None) -> tuple[Finding, ...]:
        """Return the findings of this rule; `limits` replaces some of its numbers."""
        unknown = set(limits or {}) - set(self.limits)
        if unknown:
            raise UsageError(f"limits of the rule {self.id}", got=min(unknown), instead=", ".join(self.limits))
        return tuple(self.check(self, evidence, {**self.limits, **(limits or {})}))

    def finding(
        self,
        severity: str,
        where: str,
        value: float,
        threshold: float,
        explanation: str,
        *,
        interval: tuple[float, float] | None = None,
        unit: str | None = None,
    ) -> Finding:
        """Return a finding of this rule."""
        return Finding(
            rule=self.id,
            severity=severity,
            where=where,
            value=value,
            interval=interval,
            threshold=threshold,
            unit=unit or self.unit,
            explanation=explanation,
            remedies=self.remedies,
        )

    def explain(self) -> str:
        """Return the rule as text for a person."""
        limits = ", ".join(f"{name} {value:g}" for name, value in self.limits.items()) or "none"
        return "\n".join(
            [
                f"{self.id}: {self.title}",
                "",
                self.definition.format(**{name: f"{value:g}" for name, value in self.limits.items()}),
                "",
                f"Why it matters: {self.why}",
                f"Limits: {limits} ({self.unit}).",
                f"Source: {self.source}",
                f"What to try: {'; '.join(self.remedies)}.",
            ]
        )


def percent(share: float) -> str:
    """Return a share as text: `12 %`, `0.4 %`.

    >>> percent(0.124), percent(0.004)
    ('12 %', '0.4 %')
    """
    return f"{100 * share:.2g} %" if share < 0.01 else f"{100 * share:.0f} %"


def ratio(value: float) -> str:
    """Return a factor as text with two digits: `3.2`, `1.5e-07`."""
    return f"{value:.2g}"


def listed(numbers: list[int], most: int = 6) -> str:
    """Return indices as text, cut after a few: `0, 3, 17`."""
    shown = ", ".join(str(number) for number in numbers[:most])
    return shown + (f" and {len(numbers) - most} more" if len(numbers) > most else "")
