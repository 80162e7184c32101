"""The rules: one phenomenon a file, listed here in the order in which a person should read their findings.

A file declares a `RULE` (see `rule.py`): identifier, definition, limits with their source, what it does to training,
remedies and the check. To add one, write the file, add it to `RULES`, plant the fault in `benchmarks/faults/`.
"""

from __future__ import annotations

from collections.abc import Mapping

from hillock.diagnosis.rules import gradient_dead, gradient_scale, never_active, non_finite, saturated
from hillock.diagnosis.rules.rule import Rule
from hillock.errors import UnknownNameError

__all__ = ["RULES", "Rule", "find", "rules"]

RULES: tuple[Rule, ...] = (
    non_finite.RULE,
    gradient_dead.RULE,
    never_active.RULE,
    saturated.RULE,
    gradient_scale.VANISHING,
    gradient_scale.EXPLODING,
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
