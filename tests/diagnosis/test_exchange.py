"""SARIF, JUnit, demands and baselines say what the diagnosis says."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from hillock.diagnosis import Diagnosis, Finding, rules
from hillock.diagnosis.exchange import demands, junit, known_findings, new_findings, sarif, unmet, write_baseline
from hillock.errors import UnknownNameError, UsageError


def finding(rule: str, severity: str, where: str = "act1", value: float = 0.3) -> Finding:
    return Finding(
        rule, severity, where, value, (0.2, 0.4), 0.1, "share of units", f"{rule} <here> & there.", ("gain",)
    )


DIAGNOSIS = Diagnosis(
    (finding("vanishing", "failure", value=5000.0), finding("saturated", "warning"), finding("zig_zag", "note"))
)


def test_sarif_has_every_rule_and_every_finding() -> None:
    log = json.loads(sarif(DIAGNOSIS, target="model.py"))
    (run,) = log["runs"]
    assert log["version"] == "2.1.0"
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == list(rules())
    assert [(result["ruleId"], result["level"]) for result in run["results"]] == [
        ("vanishing", "error"),
        ("saturated", "warning"),
        ("zig_zag", "note"),
    ]
    assert run["results"][0]["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] == "act1"


def test_junit_fails_the_rules_that_count() -> None:
    suite = ElementTree.fromstring(junit(DIAGNOSIS, target="runs/a & b"))
    assert suite.get("failures") == "2"
    assert int(suite.get("tests") or 0) == len(suite) == len(rules())
    failed = {case.get("name") for case in suite if case.find("failure") is not None}
    assert failed == {"vanishing", "saturated"}


@pytest.mark.parametrize(
    ("text", "hits"),
    [
        (None, {"vanishing", "saturated"}),
        ("vanishing", {"vanishing"}),
        ("vanishing>10000", set()),
        ("saturated > 0.2, zig_zag", {"saturated", "zig_zag"}),
        ("failure", {"vanishing"}),
        ("note", {"vanishing", "saturated", "zig_zag"}),
    ],
)
def test_demands_choose_what_fails(text: str | None, hits: set[str]) -> None:
    wanted = None if text is None else demands(text)
    assert {found.rule for found in unmet(DIAGNOSIS.findings, wanted)} == hits


def test_wrong_demands_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="vanishing"):
        demands("vanishin")
    with pytest.raises(UsageError, match="--fail-on RULE"):
        demands("saturated=0.2")
    with pytest.raises(UsageError, match="a number after >"):
        demands("saturated>1.2.3")


def test_a_baseline_hides_what_is_known_by_rule_and_place(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    write_baseline(DIAGNOSIS, path)
    known = known_findings(path)
    later = Diagnosis((finding("vanishing", "failure", value=9.0), finding("saturated", "warning", where="act2")))
    assert [found.where for found in new_findings(later, known)] == ["act2"]
    path.write_text("{}")
    with pytest.raises(UsageError, match="a baseline file in the form"):
        known_findings(path)
