"""A diagnosis in the forms that other programs read: SARIF for code hosts, JUnit for build servers, baselines."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from hillock.diagnosis.finding import SEVERITIES, Diagnosis, Finding
from hillock.diagnosis.rules import RULES, find
from hillock.errors import UsageError

__all__ = ["Demand", "demands", "junit", "known_findings", "new_findings", "sarif", "unmet", "write_baseline"]

BASELINE = "hillock-baseline/1.0"
_LEVELS = {"note": "note", "warning": "warning", "failure": "error"}


def sarif(diagnosis: Diagnosis, *, target: str) -> str:
    """Return the findings as SARIF 2.1.0 text; `target` (the run folder or source file) is their location.

    **Source** OASIS, Static Analysis Results Interchange Format, version 2.1.0.
    """
    rules = [
        {
            "id": rule.id,
            "shortDescription": {"text": rule.title},
            "fullDescription": {"text": rule.definition.format(**rule.limits)},
            "help": {"text": f"{rule.why} What to try: {'; '.join(rule.remedies)}."},
        }
        for rule in RULES
    ]
    results = [
        {
            "ruleId": finding.rule,
            "level": _LEVELS[finding.severity],
            "message": {"text": finding.explanation},
            "partialFingerprints": {"hillock/v1": finding.fingerprint},
            "locations": [
                {
                    "physicalLocation": {"artifactLocation": {"uri": target}},
                    "logicalLocations": [{"fullyQualifiedName": finding.where, "kind": "module"}],
                }
            ],
        }
        for finding in diagnosis.findings
    ]
    driver = {"name": "hillock", "version": metadata.version("hillock"), "rules": rules}
    run = {"tool": {"driver": driver}, "results": results}
    schema = "https://json.schemastore.org/sarif-2.1.0.json"
    return json.dumps({"$schema": schema, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False)


def junit(diagnosis: Diagnosis, *, target: str) -> str:
    """Return the diagnosis as JUnit XML: one test case a rule, failed where it has a finding that counts."""
    suite = ElementTree.Element("testsuite", name=f"hillock diagnose {target}", tests=str(len(RULES)))
    failed = 0
    for rule in RULES:
        case = ElementTree.SubElement(suite, "testcase", classname="hillock", name=rule.id)
        counted = [finding for finding in diagnosis.of(rule.id) if finding.severity != "note"]
        if counted:
            failed += 1
            message = ElementTree.SubElement(case, "failure", type=counted[0].severity, message=rule.title)
            message.text = "\n".join(f"{finding.where}: {finding.explanation}" for finding in counted)
    suite.set("failures", str(failed))
    text: str = ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)
    return text


# What must not be found ----------------------------------------------------------------------------------------------


class Demand:
    """One `--fail-on RULE[>x]`: the rule must not be found, or not with a value above x.

    >>> Demand("vanishing>1000").rule, Demand("vanishing>1000").limit
    ('vanishing', 1000.0)
    """

    def __init__(self, text: str) -> None:
        parts = re.fullmatch(r"\s*([a-z_]+)\s*(?:>\s*([0-9.eE+-]+))?\s*", text)
        if parts is None:
            raise UsageError("--fail-on RULE or RULE>NUMBER", got=repr(text), instead="--fail-on 'saturated>0.2'")
        self.severity = parts[1] if parts[1] in SEVERITIES else None
        self.rule = None if self.severity else find(parts[1]).id
        try:
            self.limit = None if parts[2] is None else float(parts[2])
        except ValueError:
            raise UsageError("a number after >", got=repr(text), instead="--fail-on 'saturated>0.2'") from None

    def hit(self, finding: Finding) -> bool:
        """True if this finding is what must not be."""
        if self.severity is not None:
            return SEVERITIES.index(finding.severity) >= SEVERITIES.index(self.severity)
        return finding.rule == self.rule and (self.limit is None or finding.value > self.limit)


def demands(text: str) -> tuple[Demand, ...]:
    """Return the demands of `RULE[>x],RULE[>x],...`; a severity (`note`, `warning`, `failure`) stands for all rules."""
    return tuple(Demand(part) for part in text.split(",") if part.strip())


def unmet(findings: Sequence[Finding], wanted: Sequence[Demand] | None) -> tuple[Finding, ...]:
    """Return the findings that make the exit code 1: those the demands hit; without demands all but notes."""
    if wanted is None:
        return tuple(finding for finding in findings if finding.severity != "note")
    return tuple(finding for finding in findings if any(demand.hit(finding) for demand in wanted))


# Baselines: what is known and accepted ------------------------------------------------------------------------------


def write_baseline(diagnosis: Diagnosis, path: Path) -> None:
    """Write the fingerprints of all findings, so that later examinations report only what is new."""
    known = sorted({finding.fingerprint for finding in diagnosis.findings})
    path.write_text(json.dumps({"schema": BASELINE, "known": known}, indent=2) + "\n", encoding="utf-8")


def known_findings(path: Path) -> frozenset[str]:
    """Return the fingerprints of a baseline file; `UsageError` if it is none."""
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError("a baseline file", got=f"{path}: {error}", instead="--write-baseline FILE first") from None
    if not isinstance(content, Mapping) or content.get("schema") != BASELINE:
        raise UsageError(f"a baseline file in the form {BASELINE}", got=str(path), instead="--write-baseline FILE")
    return frozenset(content["known"])


def new_findings(diagnosis: Diagnosis, known: frozenset[str]) -> tuple[Finding, ...]:
    """Return the findings that the baseline does not know."""
    return tuple(finding for finding in diagnosis.findings if finding.fingerprint not in known)
