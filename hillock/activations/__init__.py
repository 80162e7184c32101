"""WHAT each activation function is: one declaration each, and everything that can be computed from it.

    parts.py        the pieces of a declaration: Parameter, Kink, Source, Traits
    declaration.py  Activation and Card, which refuse to exist when they contradict themselves
    formula.py      the formula as text -> SymPy expression, derivative, LaTeX, 50-digit oracle
    generated.py    a stable torch value and slope made from a formula alone
    agreement.py    does a hand-written value and slope agree with the formula? if not: where?
    stable.py       the few numerically careful expressions that many declarations share
    sources.py      every paper once
    <family>.py     the declarations, one family a file
    catalogue.py    the explicit tuple of all of them; names and aliases -> declaration
    moments.py      what follows for z ~ N(0, 1): gain, mean, E[φ'²], correlation map, saturation limits

What belongs here: mathematics and facts about functions. What never does: kernels, modules, trained tensors, printing.
"""

from __future__ import annotations

from hillock.activations.catalogue import CATALOGUE, catalogue, find, resolve
from hillock.activations.declaration import Activation, Card
from hillock.activations.parts import Kink, Parameter, Source, Traits

__all__ = [
    "CATALOGUE",
    "Activation",
    "Card",
    "Kink",
    "Parameter",
    "Source",
    "Traits",
    "catalogue",
    "find",
    "resolve",
]
