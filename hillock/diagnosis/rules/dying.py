"""Dying units: units that responded when training began and are dead now, how fast they die, and which come next."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from hillock.diagnosis.evidence import Evidence
from hillock.diagnosis.finding import Finding
from hillock.diagnosis.interval import line_interval, share_interval
from hillock.diagnosis.rules.rule import Limits, Rule, listed
from hillock.diagnosis.site import Site

__all__ = ["RULE", "transitions"]

Lines = Sequence[Mapping[str, Any]]


def check(rule: Rule, evidence: Evidence, limits: Limits) -> Iterable[Finding]:
    lines = [line for line in evidence.history if line.get("kind") == "health" and line.get("sites")]
    if len(lines) < 2 or lines[0].get("stage") != "initial":
        return
    # Judged by this examination, whose samples suffice to call a unit dead; the lines only say what it was before.
    for site in evidence.unit_sites:
        seen = [(int(line["step"]), _of(line, site.name)) for line in lines]
        series = [(step, found) for step, found in seen if found is not None]
        if len(series) < 2 or site.samples < limits["samples"]:
            continue
        now = _dead_now(site, limits)
        yield from _died(rule, site, series, now, limits)
        yield from _heading(rule, site, series, now, limits)


def _of(line: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    found: Mapping[str, Any] | None = next((site for site in line["sites"] if site["name"] == name), None)
    return found


def _dead_now(site: Site, limits: Limits) -> set[int]:
    counts = site.responding * (site.samples / max(site.rows, 1))
    return {unit for unit, count in enumerate(counts.tolist()) if count < limits["rate"] * site.samples}


def _died(rule: Rule, site: Site, series: Any, now: set[int], limits: Limits) -> Iterator[Finding]:
    born = set(series[0][1]["dead"])
    died = sorted(now - born)
    share = len(died) / site.units
    if share < limits["warning"]:
        return
    severity = "failure" if share >= limits["failure"] else "warning"
    steps = max(series[-1][0], 1)
    deaths, revivals, living, dead = transitions([(step, set(found["dead"])) for step, found in series], site.units)
    back = f"{1000 * revivals / dead:.2g}" if dead else "none could"
    yield rule.finding(
        severity,
        site.name,
        share,
        limits[severity],
        f"{len(died)} of {site.units} units of this {site.activation} died within {steps} steps: {listed(died)}. "
        f"Per 1000 steps and living unit there are {1000 * deaths / max(living, 1):.2g} deaths, per dead unit {back} "
        f"revivals. {len(born & now)} were born dead and stayed so, {len(born - now)} came to life.",
        interval=share_interval(len(died), site.units),
    )


def transitions(series: Sequence[tuple[int, set[int]]], units: int) -> tuple[int, int, int, int]:
    """Return deaths, revivals, and the unit-steps spent alive and dead, from (step, dead units) of successive probes.

    >>> transitions([(0, set()), (100, {1}), (200, {1, 2})], units=4)
    (2, 0, 700, 100)
    """
    deaths = revivals = living = dead = 0
    for (start, before), (end, after) in itertools.pairwise(series):
        deaths += len(after - before)
        revivals += len(before - after)
        living += (end - start) * (units - len(before))
        dead += (end - start) * len(before)
    return deaths, revivals, living, dead


def _heading(rule: Rule, site: Site, series: Any, now: set[int], limits: Limits) -> Iterator[Finding]:
    """Early warning: units whose slope falls on a straight line that ends within as many steps again."""
    known = [(step, found["slopes"]) for step, found in series if found.get("slopes")]
    known = list({step: (step, slopes) for step, slopes in known}.values())  # the last probe may repeat a step
    if len(known) < limits["probes"]:
        return
    steps = [step for step, _ in known]
    last, first = known[-1][1], known[0][1]
    going = []
    for unit in set(range(site.units)) - now:
        # Only what has lost half of the way already can end within as many steps again.
        if not float(last[unit]) < 0.6 * float(first[unit]):
            continue
        slope, _, high = line_interval(steps, [float(slopes[unit]) for _, slopes in known])
        if high < 0 and float(last[unit]) + slope * (steps[-1] - steps[0]) < limits["slope"]:
            going.append(unit)
    share = (len(going) + len(now)) / site.units
    if share < limits["heading"] or not going or len(going) / site.units < limits["heading"] / 2:
        return
    yield rule.finding(
        "note",
        site.name,
        share,
        limits["heading"],
        f"{len(going)} of {site.units} units of this {site.activation} are on their way to die: the slope they pass "
        f"falls in a line that ends within another {steps[-1] - steps[0]} steps: {listed(sorted(going))}.",
        interval=share_interval(len(going) + len(now), site.units),
    )


RULE = Rule(
    id="dying",
    title="units that died during training",
    definition=(
        "A unit died if it responded at the first probe, made before the first step, and responds to less than {rate} "
        "of the samples now. The value is the share of a site's units that died: a warning from {warning}, a failure "
        "from {failure}; {samples} samples are needed. Early warning (a note): from {probes} probes on, units whose "
        "root mean square slope falls on a straight line (its 95 % interval below 0) that passes {slope} within as "
        "many steps again, if with the dead they are {heading} of a site. Needs a watched training."
    ),
    limits={
        "rate": 0.01,
        "samples": 299,
        "warning": 0.2,
        "failure": 0.4,
        "probes": 4,
        "slope": 0.03,
        "heading": 0.4,
    },
    unit="share of units",
    source="Lu et al. 2019 (dying ReLU); ReDo, Sokar et al. 2023 (transitions); calibrated on benchmarks/faults",
    why="Units that die in the first steps were knocked out by too large a step; they hardly ever come back.",
    remedies=("rate/3", "clipping", "activation=leaky_relu", "normalisation", "a longer warm-up"),
    check=check,
)
