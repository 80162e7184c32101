"""Every error that hillock raises on purpose, as one family.

    HillockError
    ├── UsageError (also a ValueError)      a value that the caller gave cannot be used
    │   ├── UnknownNameError                a name that is not in a catalogue; lists the near misses
    │   ├── DataError                       pictures, labels or a data folder that cannot be read
    │   ├── ModelError                      a model, weights file or layer that does not fit
    │   ├── CheckpointError                 a run folder or checkpoint that is damaged, foreign or in use
    │   └── DeclarationError                an activation's declaration contradicts itself
    └── TrainingError (also a RuntimeError) a training that had to stop; the last good state is kept

A message says three things: what was expected, what came, and what to do instead. The command line prints it as one
sentence and exits with code 2 (`UsageError`) or 3 (`TrainingError`); there is no traceback for a user's mistake.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "CheckpointError",
    "DataError",
    "DeclarationError",
    "HillockError",
    "ModelError",
    "TrainingError",
    "UnknownNameError",
    "UsageError",
]


class HillockError(Exception):
    """The root of the family: `except hillock.HillockError` catches every error that hillock raises on purpose."""


class UsageError(HillockError, ValueError):
    """A value that the caller gave cannot be used.

    >>> raise UsageError("a learning rate above 0", got="-0.1", instead="--learning-rate 0.1")
    Traceback (most recent call last):
    hillock.errors.UsageError: expected a learning rate above 0, got -0.1; try --learning-rate 0.1
    """

    def __init__(self, expected: str, *, got: str | None = None, instead: str | None = None) -> None:
        self.expected = expected
        self.got = got
        self.instead = instead
        came = "" if got is None else f", got {got}"
        advice = "" if instead is None else f"; try {instead}"
        super().__init__(f"expected {expected}{came}{advice}")


class UnknownNameError(UsageError):
    """A name that is not in a catalogue.

    >>> raise UnknownNameError("activation", "gelo", ["gelu", "relu", "mish"])
    Traceback (most recent call last):
    hillock.errors.UnknownNameError: expected the name of an activation, got 'gelo'; try 'gelu' or 'relu'
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.known = sorted(known)
        near = difflib.get_close_matches(name, self.known, n=3, cutoff=0.5)
        offered = near or self.known
        article = "an" if kind[0] in "aeiou" else "a"
        super().__init__(
            f"the name of {article} {kind}", got=repr(name), instead=" or ".join(repr(option) for option in offered)
        )


class DataError(UsageError):
    """Pictures, labels or a data folder that cannot be read or do not fit together."""


class ModelError(UsageError):
    """A model, weights file or layer that does not fit what was asked of it."""


class CheckpointError(UsageError):
    """A run folder or checkpoint that is damaged, belongs to another run, or is in use."""


class DeclarationError(UsageError):
    """An activation's declaration that contradicts itself, with the point where it fails."""


class TrainingError(HillockError, RuntimeError):
    """A training that had to stop. The message says why, where the last good state is, and how to go on."""
