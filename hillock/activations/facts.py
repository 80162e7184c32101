"""Everything that a card shows, computed from a declaration; and the traits of a function that declares none."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy
import torch

from hillock.activations import formula as formulas
from hillock.activations import moments
from hillock.activations.declaration import Activation, Card
from hillock.activations.parts import Traits

__all__ = ["card_facts", "curve", "facts", "measured_traits", "traits_of"]

REACH = 60.0  # traits of a function that declares none are looked for within ±60
STEP = 1 / 64


def facts(entry: Activation | Card) -> dict[str, Any]:
    """Return what is known of an entry as plain values, ready for JSON, a table or a page.

    >>> facts_of_relu = facts(__import__("hillock.activations").activations.find("relu"))
    >>> facts_of_relu["properties"]["monotone"], round(facts_of_relu["moments"]["gain"], 3)
    (True, 1.414)
    """
    return card_facts(entry) if isinstance(entry, Card) else _activation_facts(entry)


def card_facts(card: Card) -> dict[str, Any]:
    """Return the facts of an aggregate."""
    return {
        "name": card.name,
        "kind": "aggregate",
        "family": card.family,
        "aliases": list(card.aliases),
        "formula": card.plain,
        "formula_latex": card.formula,
        "layer": card.layer,
        "options": dict(card.options),
        "functional": f"hillock.functional.{card.functional}" if card.functional else None,
        "remarks": list(card.remarks),
        "source": card.source.text,
        "year": card.source.year,
    }


def _activation_facts(activation: Activation) -> dict[str, Any]:
    traits = traits_of(activation)
    constants = activation.constants()
    low, high = moments.saturation_limits(activation)
    return {
        "name": activation.name,
        "kind": "pointwise",
        "family": activation.family,
        "aliases": list(activation.aliases),
        "formula": activation.formula,
        "formula_latex": formulas.latex(activation.expression),
        "slope": str(activation.derivative),
        "slope_latex": formulas.slope_latex(activation.expression),
        "parameters": [
            {
                "name": parameter.name,
                "default": parameter.default,
                "learned": parameter.learned,
                "drawn": parameter.drawn,
                "weight_decay": parameter.weight_decay,
                "range": [parameter.low, parameter.high],
                "meaning": parameter.meaning,
            }
            for parameter in activation.parameters
        ],
        "properties": {
            "monotone": traits.monotone,
            "symmetry": traits.symmetry,
            "zero_centred": traits.zero_centred,
            "saturating": traits.saturating,
            "bounds": list(traits.bounds),
            "limits": list(traits.limits),
            "slope_limits": list(traits.slope_limits),
            "turning": None if traits.turning is None else list(traits.turning),
            "kinks": [
                {"at": kink.place(constants), "slope": kink.slope, "jump": kink.jump} for kink in activation.kinks
            ],
            "learned": list(activation.learned),
        },
        "moments": {
            "gain": moments.gain(activation),
            "mean": moments.mean(activation),
            "slope_second_moment": moments.slope_second_moment(activation),
            "max_slope": moments.max_slope(activation),
            "saturation_limits": [low, high],
        },
        "remarks": list(activation.remarks),
        "source": activation.source.text if activation.source else None,
        "year": activation.source.year if activation.source else None,
    }


def curve(
    activation: Activation, reach: float = 5.0, points: int = 601
) -> tuple[list[float], list[float], list[float]]:
    """Return x, φ(x) and φ'(x) over [-reach, reach], for a figure."""
    x = torch.linspace(-reach, reach, points, dtype=torch.float64)
    constants = activation.constants()
    return x.tolist(), activation.value(x, **constants).tolist(), activation.slope(x, **constants).tolist()


def traits_of(activation: Activation) -> Traits:
    """Return the declared traits, or measured ones where none are declared."""
    return activation.traits if activation.traits is not None else measured_traits(activation)


def measured_traits(activation: Activation) -> Traits:
    """Return the traits as far as values within ±60, and at ±∞, show them.

    More than 20 turning points count as infinitely many.

    >>> measured_traits(Activation(name="bump", formula="x*exp(-x**2)")).symmetry
    'odd'
    """
    constants = activation.constants()
    x = torch.from_numpy(numpy.arange(-REACH, REACH + STEP, STEP))
    value, slope = activation.value(x, **constants), activation.slope(x, **constants)
    ends = torch.tensor([-math.inf, math.inf], dtype=torch.float64)
    limits, slope_limits = activation.value(ends, **constants).tolist(), activation.slope(ends, **constants).tolist()
    largest = torch.finfo(torch.float64).max
    limits = [math.copysign(math.inf, limit) if abs(limit) > largest / 1e10 else limit for limit in limits]
    turning = _turning(activation, x.numpy(), slope.numpy())
    if turning is None:
        limits, slope_limits = [math.nan] * 2, [math.nan] * 2
    reached = [*value.tolist(), *(limit for limit in limits if not math.isnan(limit))]
    odd, even = (bool(torch.allclose(value.flip(0), sign * value, rtol=1e-12, atol=1e-12)) for sign in (-1, 1))
    return Traits(
        limits=(limits[0], limits[1]),
        slope_limits=(slope_limits[0], slope_limits[1]),
        bounds=(min(reached), max(reached)),
        turning=turning,
        symmetry="odd" if odd else "even" if even else None,
    )


def _turning(activation: Activation, x: numpy.ndarray, slope: numpy.ndarray) -> tuple[float, ...] | None:
    """Return where the slope changes its sign, found by bisection; None for more than 20 places."""
    signs = numpy.sign(slope) * (numpy.abs(slope) > 1e-280)  # in the underflow signs are noise
    nonzero = numpy.flatnonzero(signs)
    changes = [(a, b) for a, b in pairwise(nonzero) if signs[a] != signs[b]]
    if len(changes) > 20:
        return None
    places = []
    for a, b in changes:
        low, high, sign = float(x[a]), float(x[b]), signs[a]
        for _ in range(60):
            middle = (low + high) / 2
            here = float(activation.slope(torch.tensor(middle, dtype=torch.float64), **activation.constants()))
            low, high = (middle, high) if here * sign > 0 else (low, middle)
        places.append((low + high) / 2)
    return tuple(places)
