"""What a diagnosis says: findings, depth profiles and what was not seen, as values that render to text or JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from hillock.errors import UsageError

__all__ = ["SCHEMA", "SEVERITIES", "Diagnosis", "Finding", "Profile"]

# The version of the JSON form. The first number changes when a reader of the old form would misread the new one.
SCHEMA = "hillock-diagnosis/1.0"
SEVERITIES = ("note", "warning", "failure")


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is wrong (or worth knowing), where it is, how large, how sure, and what to try.

    **Arguments**

    - `rule`: identifier, for example `vanishing`; `hillock diagnose --explain vanishing` says what it means.
    - `severity`: `note` (not counted against health), `warning` (training suffers) or `failure` (training cannot work).
    - `where`: path of the module, site or parameter; `network` for the whole.
    - `value`, `unit`: the measured quantity. `interval`: its 95 % interval, None where it is exact for this input.
    - `threshold`: the limit that `value` passed.
    - `explanation`: one or two sentences with the numbers in them. `remedies`: names that `hillock treat` understands
      come first, then advice in words.

    >>> Finding("saturated", "warning", "act3", 0.25, None, 0.1, "share of units", "A quarter.", ("gain",)).severity
    'warning'
    """

    rule: str
    severity: str
    where: str
    value: float
    interval: tuple[float, float] | None
    threshold: float
    unit: str
    explanation: str
    remedies: tuple[str, ...]

    def __post_init__(self) -> None:
        assert self.severity in SEVERITIES, self.severity

    @property
    def fingerprint(self) -> str:
        """What makes two findings of different diagnoses "the same": the rule and the place, not the number."""
        return f"{self.rule}@{self.where}"

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as JSON-ready values; numbers that are not finite become strings."""
        fields = dataclasses.asdict(self)
        fields["value"] = json_number(self.value)
        fields["threshold"] = json_number(self.threshold)
        fields["interval"] = None if self.interval is None else [json_number(end) for end in self.interval]
        fields["remedies"] = list(self.remedies)
        return fields

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Finding:
        """Return the finding that `to_dict` wrote."""
        interval = fields["interval"]
        return cls(
            rule=fields["rule"],
            severity=fields["severity"],
            where=fields["where"],
            value=float(fields["value"]),
            interval=None if interval is None else (float(interval[0]), float(interval[1])),
            threshold=float(fields["threshold"]),
            unit=fields["unit"],
            explanation=fields["explanation"],
            remedies=tuple(fields["remedies"]),
        )


@dataclasses.dataclass(frozen=True)
class Profile:
    """One quantity over the depth of the network, measured and, where theory gives one, predicted.

    **Arguments**

    - `name`: for example `forward_gain`; `unit`: what its numbers mean.
    - `where`: the activation sites in the order in which they ran, length L.
    - `measured`: length L; NaN where the quantity does not exist at that site.
    - `predicted`: the mean-field value for that site's activation, length L, or None.
    """

    name: str
    unit: str
    where: tuple[str, ...]
    measured: tuple[float, ...]
    predicted: tuple[float, ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the profile as JSON-ready values."""
        return {
            "name": self.name,
            "unit": self.unit,
            "where": list(self.where),
            "measured": [json_number(value) for value in self.measured],
            "predicted": None if self.predicted is None else [json_number(value) for value in self.predicted],
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Profile:
        """Return the profile that `to_dict` wrote."""
        predicted = fields["predicted"]
        return cls(
            name=fields["name"],
            unit=fields["unit"],
            where=tuple(fields["where"]),
            measured=tuple(float(value) for value in fields["measured"]),
            predicted=None if predicted is None else tuple(float(value) for value in predicted),
        )


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """Everything one examination says about a network.

    **Arguments**

    - `findings`: worst first, then in the order of the network.
    - `profiles`: curves over depth.
    - `not_seen`: sentences naming every part that the examination could not look into. An empty tuple means that
      nothing was skipped.
    - `facts`: what was examined and how: stage, samples, loss, sites, seconds and the share of training time spent.

    >>> Diagnosis(findings=()).healthy
    True
    """

    findings: tuple[Finding, ...]
    profiles: tuple[Profile, ...] = ()
    not_seen: tuple[str, ...] = ()
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def healthy(self) -> bool:
        """True if there is no finding of severity `warning` or above."""
        return all(finding.severity == "note" for finding in self.findings)

    @property
    def severity(self) -> str | None:
        """The worst severity found, or None without findings."""
        found = [SEVERITIES.index(finding.severity) for finding in self.findings]
        return SEVERITIES[max(found)] if found else None

    def of(self, rule: str) -> tuple[Finding, ...]:
        """Return the findings of one rule."""
        return tuple(finding for finding in self.findings if finding.rule == rule)

    def profile(self, name: str) -> Profile:
        """Return one profile by name; an unknown name is a `UsageError` that lists those there are."""
        for profile in self.profiles:
            if profile.name == name:
                return profile
        known = ", ".join(profile.name for profile in self.profiles) or "none"
        raise UsageError("the name of a profile of this diagnosis", got=repr(name), instead=known)

    def to_dict(self) -> dict[str, Any]:
        """Return the diagnosis as JSON-ready values, with the schema's version under `schema`."""
        return {
            "schema": SCHEMA,
            "healthy": self.healthy,
            "severity": self.severity,
            "findings": [finding.to_dict() for finding in self.findings],
            "profiles": [profile.to_dict() for profile in self.profiles],
            "not_seen": list(self.not_seen),
            "facts": json_value(dict(self.facts)),
        }

    def to_json(self) -> str:
        """Return the diagnosis as JSON text (strict JSON: no NaN or Infinity literals)."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False, ensure_ascii=False)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Diagnosis:
        """Return the diagnosis that `to_dict` wrote; another schema is a `UsageError`."""
        schema = str(fields.get("schema"))
        if schema.split(".")[0] != SCHEMA.split(".")[0]:
            raise UsageError(f"a diagnosis in the form {SCHEMA}", got=schema, instead="diagnosing again")
        return cls(
            findings=tuple(Finding.from_dict(finding) for finding in fields["findings"]),
            profiles=tuple(Profile.from_dict(profile) for profile in fields["profiles"]),
            not_seen=tuple(fields["not_seen"]),
            facts=dict(fields["facts"]),
        )


def ordered(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return findings worst first, otherwise in the order given."""
    return tuple(sorted(findings, key=lambda finding: -SEVERITIES.index(finding.severity)))


def json_number(value: float) -> float | str:
    """Return a number that strict JSON can hold: NaN and infinities become the strings that `float` reads back."""
    return value if math.isfinite(value) else str(value)


def json_value(value: Any) -> Any:
    """Return nested values with every number made safe for strict JSON."""
    if isinstance(value, Mapping):
        return {str(key): json_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_value(item) for item in value]
    if isinstance(value, float):
        return json_number(value)
    return value
