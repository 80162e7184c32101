"""The explicit list of everything hillock knows, and how a name becomes a declaration."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from hillock.activations import (
    aggregates,
    clipped,
    exponential,
    gated,
    periodic,
    rectifiers,
    searched,
    self_gated,
    sigmoids,
    steps,
    trained,
)
from hillock.activations.declaration import Activation, Card
from hillock.errors import DeclarationError, UnknownNameError, UsageError

__all__ = ["CATALOGUE", "catalogue", "find", "is_catalogued", "resolve"]

CATALOGUE: tuple[Activation | Card, ...] = (
    *steps.ACTIVATIONS,
    *sigmoids.ACTIVATIONS,
    *clipped.ACTIVATIONS,
    *rectifiers.ACTIVATIONS,
    *exponential.ACTIVATIONS,
    *gated.ACTIVATIONS,
    *self_gated.ACTIVATIONS,
    *trained.ACTIVATIONS,
    *searched.ACTIVATIONS,
    *periodic.ACTIVATIONS,
    *aggregates.CARDS,
)


_ENTRIES = {entry.name: entry for entry in CATALOGUE}  # a plain table, so that torch.compile can look through it


def catalogue() -> Mapping[str, Activation | Card]:
    """Return every entry by its canonical name, in the order of the catalogue.

    >>> catalogue()["mish"].source.year
    2019
    """
    return MappingProxyType(_ENTRIES)


def is_catalogued(activation: Activation) -> bool:
    """Whether this is the catalogue's own entry; a declaration of somebody's own may bear the same name.

    Whoever has something ready for an entry by its name (kernels) asks this first.
    """
    return _ENTRIES.get(activation.name) is activation


def normalised(name: str) -> str:
    """Return a name as the catalogue compares it: lower case, without spaces, hyphens and underscores.

    >>> normalised("Leaky ReLU") == normalised("leaky_relu")
    True
    """
    return name.lower().replace(" ", "").replace("-", "").replace("_", "")


def _index() -> Mapping[str, Activation | Card]:
    """Return every entry by its normalised name and aliases; a name that two entries claim is refused."""
    table: dict[str, Activation | Card] = {}
    for entry in CATALOGUE:
        for name in (entry.name, *entry.aliases):
            other = table.setdefault(normalised(name), entry)
            if other is not entry:
                raise DeclarationError(
                    f"the name {name!r} to belong to one entry", got=f"{other.name} and {entry.name}"
                )
    return table


_BY_NAME = _index()  # a plain table and no cached function, so that torch.compile can look through it


def lookup(name: str) -> Activation | Card:
    """Return the entry of a name or alias, aggregates included."""
    entry = _BY_NAME.get(normalised(name)) if isinstance(name, str) else None
    if entry is None:
        known = [known for entry in CATALOGUE for known in (entry.name, *entry.aliases)]
        raise UnknownNameError("activation", str(name), known)
    return entry


def find(name: str | Activation) -> Activation:
    """Return the activation of a name or alias; an `Activation` is returned as it is.

    Errors: `UnknownNameError` with the near misses; for an aggregate such as maxout, which layer to use.

    >>> find("Leaky ReLU").name
    'leaky_relu'
    """
    if isinstance(name, Activation):
        return name
    entry = lookup(name)
    if isinstance(entry, Card):
        raise UsageError(
            "a pointwise activation", got=f"{entry.name!r}, which is a layer of its own", instead=f"{entry.layer}(...)"
        )
    return entry


def resolve(name: str | Activation, parameters: Mapping[str, Any]) -> tuple[Activation, dict[str, Any]]:
    """Return the activation meant by a name with keywords, and the keywords that are left for its parameters.

    >>> resolve("gelu", {"approximate": "tanh"})[0].name
    'gelu_tanh'
    """
    activation = find(name)
    left = dict(parameters)
    for keyword in {keyword for keyword, _, _ in activation.variants} & left.keys():
        options = {option: name for key, option, name in activation.variants if key == keyword}
        option = left.pop(keyword)
        if option not in options:
            raise UnknownNameError(f"{keyword} of {activation.name}", str(option), options)
        activation = find(options[option])
    return activation, left
