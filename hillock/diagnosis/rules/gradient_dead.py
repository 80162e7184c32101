"""Gradient-dead units: whatever the sample, the activation's slope there is (next to) nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from hillock.diagnosis.evidence import Evidence
from hillock.diagnosis.finding import Finding
from hillock.diagnosis.interval import samples_needed, share_upper_bound
from hillock.diagnosis.rules.rule import Limits, Rule, listed, percent
from hillock.diagnosis.site import RESPONSE_SHARE, Site

__all__ = ["RULE"]


def check(rule: Rule, evidence: Evidence, limits: Limits) -> Iterable[Finding]:
    for site in evidence.unit_sites:
        # Of a channel some position may respond now and then while next to no gradient passes: count the power too.
        shut = site.slope_shares < limits["slope"]
        yield from judged(rule, site, site.responding.tolist(), limits, "responds to", shut=shut.tolist())


def judged(
    rule: Rule, site: Site, hits: list[float], limits: Limits, verb: str, *, shut: Sequence[bool] = ()
) -> Iterator[Finding]:
    """Yield the finding for a site whose units were counted in `hits`: rows in which each did what `verb` says.

    Units in `shut` are dead however often they did it.
    """
    rare = limits["rate"]
    per_sample = site.samples / max(site.rows, 1)
    counts = [round(hit * per_sample) for hit in hits]
    silent = [unit for unit, count in enumerate(counts) if count < rare * site.samples]
    weak = sorted({unit for unit, closed in enumerate(shut) if closed} - set(silent))
    dead = sorted([*silent, *weak])
    share = len(dead) / site.units
    if share < limits["warning"]:
        return
    enough = site.samples >= samples_needed(rare)
    certain = sum(share_upper_bound(counts[unit], site.samples) <= rare for unit in silent) + enough * len(weak)
    severity = "failure" if share >= limits["failure"] else "warning"
    honesty = []
    if silent:
        bound = share_upper_bound(max(counts[unit] for unit in silent), site.samples)
        who = "Each of them" if not weak else f"{len(silent)} of them each"
        honesty.append(f"{who} {verb} fewer than {percent(bound)} of inputs (95 % confidence)")
    if weak:
        strongest = float(site.slope_shares[weak].max())
        honesty.append(f"{len(weak)} pass at most {percent(strongest)} of a gradient (root mean square over positions)")
    if certain / site.units < limits["warning"]:
        severity = "note"
        few = (
            f"it takes {samples_needed(rare)} samples"
            if not enough
            else "of those that do it now and then it takes more"
        )
        honesty.append(f"to claim less than {percent(rare)} {few}, there were {site.samples}")
    yield rule.finding(
        severity,
        site.name,
        share,
        limits["failure"] if severity == "failure" else limits["warning"],
        f"{len(dead)} of {site.units} units of this {site.activation} are dead ({percent(share)}): {listed(dead)}. "
        f"{'; '.join(honesty)}.",
        interval=(certain / site.units, share),
    )


RULE = Rule(
    id="gradient_dead",
    title="units through which no gradient flows",
    definition=(
        f"A unit responds to a sample if |φ'(z)| > {RESPONSE_SHARE:g} max|φ'| at any of its positions. It is dead if "
        "it responds to less than {rate} of the samples, or if the root mean square of φ'(z) over samples and "
        "positions is below {slope} max|φ'|. The value is the share of dead units at a site: a warning from {warning}, "
        "a failure from {failure}. It counts only units for which the samples suffice to claim it."
    ),
    limits={"rate": 0.01, "slope": 0.03, "warning": 0.25, "failure": 0.5},
    unit="share of units",
    source=(
        "Generalises the 'active below 1 %' of Amazon SageMaker Debugger and of Dohare et al. 2024 (Nature 632:768) to "
        "any φ by its slope; intervals Clopper & Pearson 1934; shares calibrated on benchmarks/faults"
    ),
    why="A dead unit learns nothing and passes nothing back; unless layers before it move, it stays dead.",
    remedies=("rate/3", "bias+0.1", "activation=leaky_relu", "normalisation", "lower the learning rate and warm it up"),
    check=check,
)
