"""Judge the collected cases: choose limits on one half, report detection and false alarms on the other.

    python benchmarks/faults/calibrate.py FOLDER [PEERS.json] > benchmarks/results/calibration.json
    python benchmarks/faults/calibrate.py FOLDER --shipped    > benchmarks/results/calibration-shipped.json

Even seeds are the half to choose on, odd seeds the half to report. A healthy control is a network without a fault that
learned (at least half of the pictures it was not trained on right); the others are counted and left out.
A fault counts as *named* if a rule that describes it fires with a warning or failure, as *noticed* if any rule does.
"""

from __future__ import annotations

import json
import pickle
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from library import BY_NAME, HEALTHY, KINDS, Outcome

from hillock import provenance
from hillock.diagnosis.examine import birth_findings, findings_of
from hillock.diagnosis.interval import share_interval
from hillock.diagnosis.rules import rules

LEARNED = 0.5  # accuracy from which a network without a fault counts as a healthy control; chance is 0.1
Limits = dict[str, dict[str, float]]

# The limits that decide between warning and silence, and what was tried for each (factors on the shipped value).
TRIED = {
    ("gradient_dead", "warning"): (0.4, 0.6, 0.8, 1, 1.2, 1.6),
    ("never_active", "warning"): (0.4, 0.6, 0.8, 1, 1.2, 1.6),
    ("dying", "warning"): (0.5, 0.75, 1, 1.25, 1.5, 1.9),
    ("saturated", "warning"): (0.5, 1, 1.5, 2, 3, 4),
    ("vanishing", "warning"): (0.1, 0.3, 1, 3, 9),
    ("exploding", "warning"): (0.1, 0.3, 1, 3, 9),
    ("initialisation", "gain"): (0.9, 1, 1.1, 1.25),
    ("initial_loss", "warning"): (0.5, 1, 2, 3, 3.9),
    ("identical_samples", "warning"): (0.1, 0.3, 1, 3, 10, 30),
    ("rank_collapse", "classes"): (0.7, 1, 1.3),
    ("plateau", "warning"): (0.9, 1, 1.04, 1.07),
    ("update_ratio", "high"): (0.5, 1, 2, 4),
    ("update_ratio", "low"): (0.5, 1, 2.5, 5, 10, 20),
    ("labels", "factor"): (0.9, 1, 1.2, 1.5),
    ("constant_units", "warning"): (0.5, 1, 2, 3),
    ("batch_norm", "factor"): (0.8, 1, 1.5, 2.5),
}


def load(folder: Path) -> list[Outcome]:
    return [pickle.loads(path.read_bytes()) for path in sorted(folder.glob("*.pickle"))]


def fired(outcome: Outcome, limits: Limits) -> set[str]:
    """The rules that fire with a warning or a failure."""
    initial, final = outcome.evidence
    found = [*findings_of(final, limits=limits), *birth_findings(findings_of(initial, limits=limits))]
    return {finding.rule for finding in found if finding.severity != "note"}


def is_control(outcome: Outcome) -> bool:
    return outcome.case.kind == HEALTHY and outcome.accuracy >= LEARNED


def named(outcome: Outcome, rules_fired: set[str]) -> bool:
    return bool(BY_NAME[outcome.case.kind].rules & rules_fired)


def score(outcomes: Sequence[Outcome], limits: Limits) -> float:
    """Share of faults named minus five times the share of false alarms."""
    seen = [(outcome, fired(outcome, limits)) for outcome in outcomes]
    faults = [named(outcome, found) for outcome, found in seen if outcome.case.kind != HEALTHY]
    alarms = [bool(found) for outcome, found in seen if is_control(outcome)]
    return sum(faults) / max(len(faults), 1) - 5 * sum(alarms) / max(len(alarms), 1)


def chosen(outcomes: Sequence[Outcome]) -> Limits:
    """One pass over the limits, each set to the best of those tried; the shipped value wins ties."""
    limits: Limits = defaultdict(dict)
    best = score(outcomes, {})
    for (rule, name), factors in TRIED.items():
        shipped = rules()[rule].limits[name]
        for factor in factors:
            trial = {key: dict(value) for key, value in limits.items()}
            trial.setdefault(rule, {})[name] = shipped * factor
            value = score(outcomes, trial)
            if value > best + 1e-9:
                best = value
                limits[rule][name] = shipped * factor
    return {rule: dict(values) for rule, values in limits.items() if values}


def rate(hits: int, trials: int) -> dict[str, Any]:
    low, high = share_interval(hits, trials)
    share = hits / trials if trials else None
    return {"hits": hits, "trials": trials, "share": share, "interval": [low, high]}


def table(outcomes: Sequence[Outcome], limits: Limits) -> dict[str, Any]:
    """Detection by kind, false alarms by rule."""
    seen = [(outcome, fired(outcome, limits)) for outcome in outcomes]
    faults = [(outcome, found) for outcome, found in seen if outcome.case.kind != HEALTHY]
    controls = [(outcome, found) for outcome, found in seen if is_control(outcome)]
    kinds = {}
    for kind in KINDS:
        own = [(outcome, found) for outcome, found in faults if outcome.case.kind == kind.name]
        if own:
            hits = sum(named(outcome, found) for outcome, found in own)
            kinds[kind.name] = {
                "named": rate(hits, len(own)),
                "noticed": rate(sum(bool(found) for _, found in own), len(own)),
                "missed": [outcome.case.name for outcome, found in own if not named(outcome, found)],
            }
    by_rule = {rule: rate(sum(rule in found for _, found in controls), len(controls)) for rule in rules()}
    return {
        "named": rate(sum(named(outcome, found) for outcome, found in faults), len(faults)),
        "noticed": rate(sum(bool(found) for _, found in faults), len(faults)),
        "false_alarms": rate(sum(bool(found) for _, found in controls), len(controls)),
        "alarmed": {outcome.case.name: sorted(found) for outcome, found in controls if found},
        "kinds": kinds,
        "false_alarms_by_rule": by_rule,
    }


def shipped_only(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Without choosing: how the shipped limits, set before any case was collected, do on all cases."""
    unlearned = sorted(o.case.name for o in outcomes if o.case.kind == HEALTHY and not is_control(o))
    return {
        "provenance": provenance.collect(),
        "cases": len(outcomes),
        "left_out": {"why": f"no fault, but accuracy below {LEARNED}", "cases": unlearned},
        "shipped_limits": table(outcomes, {}),
    }


def result(outcomes: Sequence[Outcome], peers: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that is stored."""
    first = [outcome for outcome in outcomes if outcome.case.seed % 2 == 0]
    second = [outcome for outcome in outcomes if outcome.case.seed % 2 == 1]
    limits = chosen(first)
    unlearned = sorted(o.case.name for o in outcomes if o.case.kind == HEALTHY and not is_control(o))
    return {
        "provenance": provenance.collect(),
        "cases": len(outcomes),
        "left_out": {"why": f"no fault, but accuracy below {LEARNED}", "cases": unlearned},
        "limits_changed": limits,
        "chosen_on": table(first, limits),
        "held_back": table(second, limits),
        "held_back_with_shipped_limits": table(second, {}),
        "peers": dict(peers),
    }


def main() -> None:
    if "--shipped" in sys.argv:
        print(json.dumps(shipped_only(load(Path(sys.argv[1]))), indent=1))
        return
    peers = json.loads(Path(sys.argv[2]).read_text()) if len(sys.argv) > 2 else {}
    print(json.dumps(result(load(Path(sys.argv[1])), peers), indent=1))


if __name__ == "__main__":
    main()
