"""The rules: one phenomenon a file, listed here in the order in which a person should read their findings.

A file declares a `RULE` (see `rule.py`): identifier, definition, limits with their source, what it does to training,
remedies and the check. To add one, write the file, add it to `RULES`, plant the fault in `benchmarks/faults/`.
"""

from __future__ import annotations

from collections.abc import Mapping

from hillock.diagnosis.rules import (
    batch_norm,
    constant_units,
    degradation,
    dying,
    equal_units,
    gradient_dead,
    gradient_scale,
    identical_samples,
    initial_loss,
    initialisation,
    inputs,
    labels,
    learning_rate,
    mean_shift,
    never_active,
    non_finite,
    not_trained,
    plateau,
    rank_collapse,
    saturated,
    update_ratio,
    zig_zag,
)
from hillock.diagnosis.rules.rule import Rule
from hillock.errors import UnknownNameError

__all__ = ["RULES", "Rule", "find", "rules"]

RULES: tuple[Rule, ...] = (
    non_finite.RULE,
    inputs.RULE,
    labels.RULE,
    not_trained.RULE,
    initialisation.RULE,
    initial_loss.RULE,
    equal_units.RULE,
    gradient_scale.VANISHING,
    gradient_scale.EXPLODING,
    saturated.RULE,
    gradient_dead.RULE,
    never_active.RULE,
    dying.RULE,
    constant_units.RULE,
    batch_norm.RULE,
    identical_samples.RULE,
    rank_collapse.RULE,
    plateau.RULE,
    learning_rate.RULE,
    degradation.RULE,
    update_ratio.RULE,
    mean_shift.RULE,
    zig_zag.RULE,
)


def rules() -> Mapping[str, Rule]:
    """Return every rule by its identifier.

    >>> "vanishing" in rules()
    True
    """
    return {rule.id: rule for rule in RULES}


def find(identifier: str) -> Rule:
    """Return one rule; an unknown identifier lists the near misses."""
    known = rules()
    if identifier not in known:
        raise UnknownNameError("rule", identifier, known)
    return known[identifier]
