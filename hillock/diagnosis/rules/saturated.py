"""Saturated units: sigmoid-like functions driven into their flat ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hillock.diagnosis.evidence import Evidence
from hillock.diagnosis.finding import Finding
from hillock.diagnosis.interval import share_upper_bound
from hillock.diagnosis.mean_field import expected_flat_share, expected_saturated_share
from hillock.diagnosis.rules.rule import Limits, Rule, percent
from hillock.diagnosis.site import SATURATION_SHARE, Site

__all__ = ["RULE"]


def check(rule: Rule, evidence: Evidence, limits: Limits) -> Iterable[Finding]:
    for site in evidence.unit_sites:
        if site.character.two_sided and site.elements > 0:
            yield from _judged(rule, site, limits)


def _judged(rule: Rule, site: Site, limits: Limits) -> Iterator[Finding]:
    low, high = site.low / site.elements, site.high / site.elements
    if site.character.rectifying:  # off, as half of a ReLU's values should be; `never_active` judges that side
        low = low * 0
    responsive = 1 - (low + high)
    healthy = 1 - expected_flat_share(site.character)
    least = limits["responsive"] * healthy
    saturated = responsive <= least
    if float(saturated.double().mean()) < limits["warning"]:  # what is expected only takes away from it
        return
    expected = expected_saturated_share(site.character, site.z_centring**2, 1 - least)
    share = _beyond(float(saturated.double().mean()), expected)
    if share < limits["warning"]:
        return
    # Values of one sample at several positions resemble each other: a sample counts once.
    bounds = [share_upper_bound(round(one * site.samples), site.samples) for one in responsive.clamp(0, 1).tolist()]
    certain = _beyond(sum(bound <= least for bound in bounds) / site.units, expected)
    severity = "failure" if share >= limits["failure"] else "warning"
    honesty = ""
    if certain < limits["warning"]:
        severity = "note"
        honesty = f" Of {site.samples} samples too few to be sure (95 %) of more than {percent(max(certain, 0.0))}."
    yield rule.finding(
        severity,
        site.name,
        share,
        limits["failure"] if severity == "failure" else limits["warning"],
        f"{int(saturated.sum())} of the {site.units} units of this {site.activation} are saturated for at least "
        f"{percent(1 - least)} of inputs ({percent(float(low.mean()))} of all values on the low side, "
        f"{percent(float(high.mean()))} on the high); of healthy inputs {percent(1 - healthy)} of the values and "
        f"{percent(expected)} of the units would be.{honesty}",
        interval=(max(certain, 0.0), share),
    )


def _beyond(share: float, expected: float) -> float:
    """The share beyond what is expected (Abbott 1925): 0 at the expectation, 1 if all are."""
    return (share - expected) / (1 - expected) if expected < 1 else 0.0


RULE = Rule(
    id="saturated",
    title="sigmoid-like units stuck in their flat ends",
    definition=(
        "For functions that flatten at both ends: a value is saturated if "
        f"|φ'(z)| < {SATURATION_SHARE:g} max|φ'| (|z| > 2.18 for tanh, > 4.36 for sigmoid, >= 1 for hard tanh). A unit "
        "is saturated if at most {responsive} times as many of its values respond as would for z ~ N(0, 1), the input "
        "that the gain made for this activation gives (97 % respond for tanh, 68 % for hard tanh). The value is the "
        "share of saturated units at a site beyond what such a healthy input would show with as much in common between "
        "samples: (share - expected) / (1 - expected). A warning from {warning}, a failure from {failure}; a note "
        "where the samples do not suffice to claim it. Where φ is exactly 0 below 0 (ReLU6) only the high side counts."
    ),
    limits={"responsive": 0.1, "warning": 0.25, "failure": 0.5},
    unit="share of units",
    source=(
        "Rakitianskaia & Engelbrecht 2015 (idea); correction for what is expected: Abbott 1925; intervals Clopper & "
        "Pearson 1934; limits of units as for dead ones, which are lost just so, and between what benchmarks/faults "
        "shows for healthy (below 0.05) and saturated networks (from 0.49)"
    ),
    why="The gradient through a saturated unit is at least 20 times smaller than it could be; layers before it stall.",
    remedies=("gain", "normalisation", "rate/3", "activation=relu"),
    check=check,
)
