"""Judge the collected cases: choose limits on one half, report detection and false alarms on the other.

    python benchmarks/faults/calibrate.py FOLDER [PEERS.json] > benchmarks/results/calibration.json

* A *healthy control* is a network without a fault that learned (the accuracy from which that is so stands with each
  variant in `controls.py`); the others are counted and left out.
* A fault is *named* if a rule that describes it fires with a warning or failure, *noticed* if any rule does.
* A fault of the recipe counts only if it *hurt*: accuracy below the 95 % prediction interval of healthy controls of
  the same network and activation. Those that were planted and did no harm are reported apart.
* Cases that share network, activation and seed share a draw and are not independent; shares are given over cases and,
  for false alarms, over draws (a draw is alarmed if any of its cases is).
"""

from __future__ import annotations

import json
import math
import pickle
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy
from kinds import BY_NAME, KINDS
from library import Outcome
from scipy import stats
from setting import HEALTHY, Case

from hillock import provenance
from hillock.diagnosis.examine import BIRTH_RULES
from hillock.diagnosis.interval import share_interval
from hillock.diagnosis.rules import RULES, Rule, rules

Limits = dict[str, dict[str, float]]

# The limits that decide between warning and silence, and what was tried for each (factors on the shipped value).
TRIED = {
    ("gradient_dead", "warning"): (0.4, 0.6, 0.8, 1, 1.2, 1.6),
    ("gradient_dead", "slope"): (0.3, 0.5, 1, 2, 3),
    ("never_active", "warning"): (0.4, 0.6, 0.8, 1, 1.2, 1.6),
    ("dying", "warning"): (0.5, 0.75, 1, 1.25, 1.5, 1.9),
    ("saturated", "warning"): (0.4, 0.6, 0.8, 1, 1.2, 1.6),
    ("vanishing", "warning"): (0.1, 0.3, 1, 3, 9),
    ("exploding", "warning"): (0.1, 0.3, 1, 3, 9),
    ("initialisation", "gain"): (0.9, 1, 1.1, 1.25),
    ("initial_loss", "warning"): (0.5, 0.7, 1, 1.4, 2),
    ("identical_samples", "warning"): (0.1, 0.3, 1, 3, 10, 30),
    ("rank_collapse", "classes"): (0.7, 1, 1.3),
    ("plateau", "warning"): (0.9, 1, 1.04, 1.07),
    ("update_ratio", "high"): (0.5, 1, 2, 4),
    ("update_ratio", "low"): (0.1, 0.3, 1, 3),
    ("labels", "factor"): (0.9, 1, 1.2, 1.5),
    ("constant_units", "warning"): (0.5, 1, 2, 3),
    ("batch_norm", "factor"): (0.8, 1, 1.5, 2.5),
}

# What the first half held back gave, and what followed; since then it counts as looked at.
BEFORE = {
    "named": {"hits": 101, "trials": 101},
    "false_alarms": {"hits": 4, "trials": 118},
    "alarmed": "four ways to train one network: mlp6, hard_tanh, seed 100; all by `saturated`",
    "change": (
        "`saturated` counted a unit with 90 % flat values, whatever the activation, and warned from 10 % of units. It "
        "now subtracts what the activation shows for z ~ N(0, 1), asks for enough samples, and shares the limit of "
        "dead units (25 %)"
    ),
    # Judged once with the rule of before, on the half reported now.
    "on_the_half_reported_now": "healthy/mlp6/hard_sigmoid_binary_connect/201 would have been a false alarm too",
}


def load(folder: Path) -> list[Outcome]:
    return [pickle.loads(path.read_bytes()) for path in sorted(folder.glob("*.pickle"))]


def fired(outcome: Outcome, limits: Limits) -> set[str]:
    """The rules that fire with a warning or a failure."""
    return {rule.id for rule in RULES if _fires(outcome, rule, limits.get(rule.id, {}))}


def _fires(outcome: Outcome, rule: Rule, limits: Mapping[str, float]) -> bool:
    key = (outcome.case, rule.id, tuple(sorted(limits.items())))
    if key not in _JUDGED:
        initial, final = outcome.evidence
        found = list(rule.examine(final, limits))
        if rule.id in BIRTH_RULES:
            found += rule.examine(initial, limits)
        _JUDGED[key] = any(finding.severity != "note" for finding in found)
    return _JUDGED[key]


# One rule with one set of limits on one case is judged once, however many combinations it occurs in.
_JUDGED: dict[tuple[Case, str, tuple[tuple[str, float], ...]], bool] = {}


def is_control(outcome: Outcome) -> bool:
    return outcome.case.kind == HEALTHY and outcome.accuracy >= outcome.learned


def named(outcome: Outcome, rules_fired: set[str]) -> bool:
    return bool(BY_NAME[outcome.case.kind].rules & rules_fired)


class Harm:
    """Says whether a fault did harm: accuracy below what healthy controls of the same cell would reach."""

    def __init__(self, outcomes: Iterable[Outcome]) -> None:
        self.cells: dict[tuple[str, str], list[float]] = defaultdict(list)
        for outcome in outcomes:
            if is_control(outcome) and not outcome.case.variant:
                self.cells[outcome.case.network, outcome.case.activation].append(outcome.accuracy)
        self.freedom, self.deviation = {}, {}
        for network in {cell[0] for cell in self.cells}:
            # The spread between draws, pooled over the activations of a network.
            groups = [values for (of, _), values in self.cells.items() if of == network and len(values) > 1]
            freedom = sum(len(values) - 1 for values in groups)
            squares = sum(float(numpy.var(values)) * len(values) for values in groups)
            self.freedom[network], self.deviation[network] = freedom, math.sqrt(squares / max(freedom, 1))

    def bound(self, network: str, activation: str) -> float:
        """Lower end of the 95 % prediction interval for one more healthy training; NaN without a control."""
        values = self.cells.get((network, activation)) or self.cells.get((network, "relu"), [])
        if not values:
            return math.nan
        quantile = float(stats.t.ppf(0.975, self.freedom[network]))
        return float(numpy.mean(values)) - quantile * self.deviation[network] * math.sqrt(1 + 1 / len(values))

    def done(self, outcome: Outcome) -> bool:
        # The fault may have made it unable to answer at all: a NaN is no accuracy.
        return not outcome.accuracy >= self.bound(outcome.case.network, outcome.case.activation)

    def counts(self, outcome: Outcome) -> bool:
        """True for a fault that is one: a defect by definition, or an error of the recipe that hurt."""
        return outcome.case.kind != HEALTHY and (not BY_NAME[outcome.case.kind].optimisation or self.done(outcome))


def score(outcomes: Sequence[Outcome], harm: Harm, limits: Limits) -> float:
    """Share of faults named minus five times the share of false alarms."""
    seen = [(outcome, fired(outcome, limits)) for outcome in outcomes]
    faults = [named(outcome, found) for outcome, found in seen if harm.counts(outcome)]
    alarms = [bool(found) for outcome, found in seen if is_control(outcome)]
    return sum(faults) / max(len(faults), 1) - 5 * sum(alarms) / max(len(alarms), 1)


def chosen(outcomes: Sequence[Outcome], harm: Harm) -> tuple[Limits, list[dict[str, Any]]]:
    """One pass over the limits, each set to the best of those tried; the shipped value wins ties. With every trial."""
    limits: Limits = defaultdict(dict)
    best, trials = score(outcomes, harm, {}), []
    for (rule, name), factors in TRIED.items():
        shipped = rules()[rule].limits[name]
        for factor in factors:
            trial = {key: dict(value) for key, value in limits.items()}
            trial.setdefault(rule, {})[name] = shipped * factor
            value = score(outcomes, harm, trial)
            trials.append({"rule": rule, "limit": name, "value": shipped * factor, "score": round(value, 4)})
            if value > best + 1e-9:
                best = value
                limits[rule][name] = shipped * factor
    return {rule: dict(values) for rule, values in limits.items() if values}, trials


def rate(hits: int, trials: int) -> dict[str, Any]:
    low, high = share_interval(hits, trials)
    share = hits / trials if trials else None
    return {"hits": hits, "trials": trials, "share": share, "interval": [low, high]}


def table(outcomes: Sequence[Outcome], harm: Harm, limits: Limits) -> dict[str, Any]:
    """Detection by kind, false alarms by rule."""
    seen = [(outcome, fired(outcome, limits)) for outcome in outcomes]
    faults = [(outcome, found) for outcome, found in seen if harm.counts(outcome)]
    planted = [(outcome, found) for outcome, found in seen if outcome.case.kind != HEALTHY]
    harmless = [(outcome, found) for outcome, found in planted if not harm.counts(outcome)]
    controls = [(outcome, found) for outcome, found in seen if is_control(outcome)]
    kinds = {}
    for kind in KINDS:
        own = [(outcome, found) for outcome, found in faults if outcome.case.kind == kind.name]
        all_planted = [outcome for outcome, _ in planted if outcome.case.kind == kind.name]
        kinds[kind.name] = {
            "planted": len(all_planted),
            "hurt": sum(harm.done(outcome) for outcome in all_planted),
            "named": rate(sum(named(outcome, found) for outcome, found in own), len(own)),
            "noticed": rate(sum(bool(found) for _, found in own), len(own)),
            "missed": {outcome.case.name: sorted(found) for outcome, found in own if not named(outcome, found)},
        }
    return {
        "named": rate(sum(named(outcome, found) for outcome, found in faults), len(faults)),
        "noticed": rate(sum(bool(found) for _, found in faults), len(faults)),
        "false_alarms": rate(sum(bool(found) for _, found in controls), len(controls)),
        "false_alarms_by_draw": _by_draw(controls),
        "alarmed": {outcome.case.name: sorted(found) for outcome, found in controls if found},
        "planted_without_harm": {
            "cases": sorted(outcome.case.name for outcome, _ in harmless),
            "named": rate(sum(named(outcome, found) for outcome, found in harmless), len(harmless)),
        },
        "kinds": kinds,
        "rules": {rule: _of_rule(rule, faults, controls) for rule in rules()},
    }


def _by_draw(seen: Sequence[tuple[Outcome, set[str]]]) -> dict[str, Any]:
    """Count networks drawn, not ways to train them."""
    draws: dict[tuple[str, str, int], bool] = defaultdict(bool)
    for outcome, found in seen:
        draws[outcome.case.network, outcome.case.activation, outcome.case.seed] |= bool(found)
    return rate(sum(draws.values()), len(draws))


def _of_rule(rule: str, faults: Sequence[Any], controls: Sequence[Any]) -> dict[str, Any]:
    """How often a rule fires on the faults that it describes, and on healthy controls."""
    own = [found for outcome, found in faults if rule in BY_NAME[outcome.case.kind].rules]
    return {
        "describes": [kind.name for kind in KINDS if rule in kind.rules],
        "fires": rate(sum(rule in found for found in own), len(own)),
        "false_alarms": rate(sum(rule in found for _, found in controls), len(controls)),
    }


def beside(outcomes: Sequence[Outcome], harm: Harm, limits: Limits, peers: Mapping[str, Any]) -> dict[str, Any]:
    """hillock and the packages on the very same cases: what each notices of the faults, and of healthy controls.

    Each package is judged at two levels, warnings and its worst alone. `informedness` is detection minus false alarms:
    0 for a tool that always, or never, cries.
    """
    seen: dict[str, dict[str, list[bool]]] = defaultdict(lambda: {"faults": [], "controls": []})
    for outcome in outcomes:
        answer = peers.get(outcome.case.name, {}).get("found")
        group = "controls" if is_control(outcome) else "faults" if harm.counts(outcome) else None
        if answer is None or group is None:
            continue
        seen["hillock"][group].append(bool(fired(outcome, limits)))
        for name, rules_found in answer.items():
            seen[name][group].append(any(level >= 1 for level in rules_found.values()))
            seen[f"{name}, its worst level alone"][group].append(any(level >= 2 for level in rules_found.values()))
    rates = {name: {group: rate(sum(of), len(of)) for group, of in groups.items()} for name, groups in seen.items()}
    for of in rates.values():
        of["informedness"] = (of["faults"]["share"] or 0.0) - (of["controls"]["share"] or 0.0)
    failed = {name: answer["failed"] for name, answer in peers.items() if "failed" in answer}
    return {"noticed": rates, "failed": failed}


def result(outcomes: Sequence[Outcome], peers: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that is stored."""
    harm = Harm(outcomes)
    first = [outcome for outcome in outcomes if outcome.case.half == "chosen"]
    looked_at = [outcome for outcome in outcomes if outcome.case.half == "looked_at"]
    second = [outcome for outcome in outcomes if outcome.case.half == "reported"]
    limits, trials = chosen(first, harm)
    reported = table(second, harm, limits)
    unlearned = sorted(o.case.name for o in outcomes if o.case.kind == HEALTHY and not is_control(o))
    return {
        "provenance": provenance.collect(),
        "cases": len(outcomes),
        "left_out": {"why": "no fault, but it did not learn", "cases": unlearned},
        "limits": {rule.id: dict(rule.limits) for rule in rules().values()},
        "limits_changed": limits,
        "trials": trials,
        "chosen_on": table(first, harm, limits),
        "before": BEFORE,
        "looked_at": table(looked_at, harm, limits),
        "held_back": reported,
        "beside_peers": beside(second, harm, limits, peers),
    }


def main() -> None:
    peers = json.loads(Path(sys.argv[2]).read_text()) if len(sys.argv) > 2 else {}
    print(json.dumps(result(load(Path(sys.argv[1])), peers), indent=1))


if __name__ == "__main__":
    main()
