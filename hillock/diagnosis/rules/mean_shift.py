"""Mean shift: what a layer passes on is mostly a constant."""

from __future__ import annotations

from collections.abc import Iterable

from hillock.diagnosis.evidence import Evidence
from hillock.diagnosis.finding import Finding
from hillock.diagnosis.rules.rule import Limits, Rule, percent

__all__ = ["RULE"]


def check(rule: Rule, evidence: Evidence, limits: Limits) -> Iterable[Finding]:
    shifted = [site for site in evidence.unit_sites if site.elements and site.mean_shift >= limits["note"]]
    if not shifted:
        return
    worst = max(shifted, key=lambda site: site.mean_shift)
    yield rule.finding(
        "note",
        worst.name,
        worst.mean_shift,
        limits["note"],
        f"{percent(worst.mean_shift)} of what this {worst.activation} puts out (as E[h²]) is each unit's mean, the "
        f"same "
        f"for every input; {len(shifted)} of {len(evidence.unit_sites)} activations are above {limits['note']:g}.",
    )


RULE = Rule(
    id="mean_shift",
    title="outputs that are mostly a constant",
    definition=(
        "M = mean over units of μ² / mean over units of E[h²], in [0, 1], at each activation; 0.32 for ReLU and 0.05 "
        "for ELU of independent N(0, 1) inputs. A note from {note}: an effect, not a fault by itself; sigmoid "
        "networks have "
        "it by nature."
    ),
    limits={"note": 0.9},
    unit="share of E[h²]",
    source="Clevert, Unterthiner & Hochreiter 2016 (ELU, bias shift); Brock et al. 2021 (signal propagation plots)",
    why="The next layer sees the same large vector for every input and must cancel it before it can learn differences.",
    remedies=("normalisation", "activation=elu", "bias=0"),
    check=check,
)
