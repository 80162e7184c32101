"""What an activation does to a standard normal input z ~ N(0, 1), and where it saturates: computed, for any function.

Integrals are by Gauss-Legendre on panels that end at the declared kinks (and crowd around them), over ±16 standard
deviations, where the normal density is 1e-56. Parameters are given as keywords; a learned one counts at its initial
value.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy
import torch
from torch import Tensor

from hillock.activations.catalogue import find, resolve
from hillock.activations.declaration import Activation

__all__ = ["cosine_map", "gain", "max_slope", "mean", "saturation_limits", "second_moment", "slope_second_moment"]

REACH = 16.0  # standard deviations; exp(-16²/2) is 3e-56, so growth up to e^(x²/4) loses nothing visible
PANEL = 0.25  # width of a panel, in standard deviations
ORDER = 20  # Gauss-Legendre nodes a panel: exact for polynomials of degree 39
SEARCH_REACH = 60.0  # saturation limits and steepest slopes are looked for within ±60; e^-60 is 1e-26
SEARCH_STEP = 1 / 512


def gain(activation: str | Activation, **parameters: float) -> float:
    """Return the factor that keeps the second moment of a layer: 1/sqrt(E[φ(z)²]).

    Weights drawn with variance gain²/fan_in give outputs of second moment 1 for inputs of second moment 1.
    ReLU: sqrt(2), the factor of He et al. 2015; SELU: 1.

    >>> round(gain("relu"), 12)
    1.414213562373
    >>> round(gain("tanh"), 6)  # torch.nn.init.calculate_gain says 5/3, which is not this
    1.592537
    """
    moment = second_moment(activation, **parameters)
    return 1 / math.sqrt(moment) if moment > 0 else math.inf


def second_moment(activation: str | Activation, **parameters: float) -> float:
    """Return E[φ(z)²].

    >>> round(second_moment("selu"), 9)
    1.0
    """
    return _expectation(*_key(activation, parameters), "value squared")


def mean(activation: str | Activation, **parameters: float) -> float:
    """Return E[φ(z)], the shift that the function adds to a centred input.

    >>> round(mean("relu"), 6) == round(1 / math.sqrt(2 * math.pi), 6)
    True
    """
    return _expectation(*_key(activation, parameters), "value")


def slope_second_moment(activation: str | Activation, **parameters: float) -> float:
    """Return E[φ'(z)²], by which squared gradients shrink or grow at a layer of gain 1. Jumps of φ do not count.

    >>> round(slope_second_moment("relu"), 12)
    0.5
    """
    return _expectation(*_key(activation, parameters), "slope squared")


def max_slope(activation: str | Activation, **parameters: float) -> float:
    """Return the largest |φ'| within ±60.

    >>> max_slope("sigmoid")
    0.25
    """
    _, slopes = _slopes(*_key(activation, parameters))
    return float(slopes.max())


def saturation_limits(activation: str | Activation, share: float = 0.05, **parameters: float) -> tuple[float, float]:
    """Return (low, high): beyond them, and for good, |φ'| is below `share` of its largest value.

    -inf or inf on a side where the function never saturates; (inf, -inf) for a function without any slope, which is
    saturated everywhere. A share of 5 % is |x| > 2.18 for tanh.

    >>> [round(limit, 2) for limit in saturation_limits("tanh")]
    [-2.18, 2.18]
    >>> saturation_limits("relu")
    (0.0, inf)
    """
    activation, items = _key(activation, parameters)
    places, slopes = _slopes(activation, items)
    if slopes.max() == 0:
        return math.inf, -math.inf
    active = numpy.flatnonzero(slopes >= share * slopes.max())
    first, last = int(active[0]), int(active[-1])
    low = (
        -math.inf
        if first == 0
        else _crossing(activation, items, places[first - 1], places[first], share * slopes.max())
    )
    high = (
        math.inf
        if last == len(places) - 1
        else _crossing(activation, items, places[last + 1], places[last], share * slopes.max())
    )
    return low, high


def cosine_map(activation: str | Activation, cosine: float, **parameters: float) -> float:
    """Return the cosine of φ(u) and φ(v) for standard normal u, v with that correlation: E[φ(u)φ(v)]/E[φ(u)²].

    Iterated, it is how the similarity of two inputs travels through a wide network of gain `gain(activation)`.

    >>> round(cosine_map("relu", 0.0), 9) == round(1 / math.pi, 9)
    True
    """
    if not -1 <= cosine <= 1:
        raise ValueError(f"a cosine lies within -1 and 1, got {cosine}")
    return _cosine_map(*_key(activation, parameters), float(cosine))


def _key(
    activation: str | Activation, parameters: dict[str, float]
) -> tuple[Activation, tuple[tuple[str, float], ...]]:
    """Return what the caches are kept by: the activation and all its parameters as numbers."""
    activation, parameters = resolve(find(activation), parameters)
    return activation, tuple(activation.constants(**parameters).items())


def _edges(activation: Activation, items: tuple[tuple[str, float], ...]) -> numpy.ndarray:
    """Return the ends of the panels: a grid, the kinks, and places that crowd around 0 and around every kink."""
    crowd = [sign * 10.0**-power for power in range(1, 11) for sign in (-1, 1)]
    kinks = [kink for kink in activation.kink_places(dict(items)) if abs(kink) < REACH]
    grid = numpy.arange(-REACH, REACH + PANEL / 2, PANEL)
    return numpy.unique(
        numpy.concatenate([grid, *[numpy.array([place, *(place + c for c in crowd)]) for place in {0.0, *kinks}]])
    )


def _nodes(edges: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Return Gauss-Legendre nodes and weights on the panels between ascending edges (last axis)."""
    places, weights = numpy.polynomial.legendre.leggauss(ORDER)
    middle = (edges[..., 1:] + edges[..., :-1])[..., None] / 2
    half = (edges[..., 1:] - edges[..., :-1])[..., None] / 2
    shape = (*edges.shape[:-1], -1)
    return (middle + half * places).reshape(shape), (half * weights).reshape(shape)


def _density(z: numpy.ndarray) -> numpy.ndarray:
    density: numpy.ndarray = numpy.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return density


def _evaluate(
    activation: Activation, items: tuple[tuple[str, float], ...], x: numpy.ndarray, which: str
) -> numpy.ndarray:
    function = activation.slope if which == "slope" else activation.value
    result: Tensor = function(torch.from_numpy(numpy.ascontiguousarray(x)), **dict(items))
    return numpy.asarray(result)


@lru_cache(maxsize=4096)
def _expectation(activation: Activation, items: tuple[tuple[str, float], ...], what: str) -> float:
    nodes, weights = _nodes(_edges(activation, items))
    which, _, squared = what.partition(" ")
    values = _evaluate(activation, items, nodes, which)
    return math.fsum((values**2 if squared else values) * weights * _density(nodes))


@lru_cache(maxsize=256)
def _slopes(activation: Activation, items: tuple[tuple[str, float], ...]) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Return places within ±60, kinks and both sides of them included, and |φ'| there."""
    kinks = [kink for kink in activation.kink_places(dict(items)) if math.isfinite(kink)]
    beside = [numpy.nextafter(kink, kink + side) for kink in kinks for side in (-1.0, 1.0)]
    grid = numpy.arange(-SEARCH_REACH, SEARCH_REACH + SEARCH_STEP, SEARCH_STEP)
    places = numpy.unique(numpy.concatenate([grid, kinks, beside]))
    return places, numpy.abs(_evaluate(activation, items, places, "slope"))


def _crossing(
    activation: Activation, items: tuple[tuple[str, float], ...], flat: float, active: float, level: float
) -> float:
    """Return by bisection where |φ'| crosses the level between a flat and an active place."""
    for _ in range(60):
        middle = (flat + active) / 2
        if middle in (flat, active):
            break
        if abs(float(_evaluate(activation, items, numpy.array([middle]), "slope")[0])) < level:
            flat = middle
        else:
            active = middle
    return float(flat)


@lru_cache(maxsize=4096)
def _cosine_map(activation: Activation, items: tuple[tuple[str, float], ...], cosine: float) -> float:
    across = math.sqrt(max(0.0, 1 - cosine * cosine))
    total = _expectation(activation, items, "value squared")
    if total == 0:
        return math.nan
    if across < 1e-12:
        mirror = 1.0 if cosine > 0 else -1.0
        nodes, weights = _nodes(_edges(activation, items))
        both = _evaluate(activation, items, nodes, "value") * _evaluate(activation, items, mirror * nodes, "value")
        return math.fsum(both * weights * _density(nodes)) / total
    # E[φ(u) φ(c u + s w)] with w independent; for every u the panels in w end where c u + s w meets a kink.
    coarse = numpy.arange(-10.0, 10.01, 0.5)
    kinks = numpy.array([kink for kink in activation.kink_places(dict(items)) if abs(kink) < REACH])
    crowd = across * numpy.array([-8, -4, -2, -1, -0.5, 0, 0.5, 1, 2, 4, 8])  # the inner integral bends over this width
    near = numpy.sign(cosine) * kinks[:, None] + crowd
    u, u_weights = _nodes(numpy.unique(numpy.concatenate([coarse, kinks, near.ravel()])))
    meeting = (kinks[None, :] - cosine * u[:, None]) / across
    edges = numpy.sort(
        numpy.concatenate([numpy.broadcast_to(coarse, (u.size, coarse.size)), meeting.clip(-10, 10)], axis=1), axis=1
    )
    w, w_weights = _nodes(edges)
    inner = (_evaluate(activation, items, cosine * u[:, None] + across * w, "value") * w_weights * _density(w)).sum(
        axis=1
    )
    return float((_evaluate(activation, items, u, "value") * inner * u_weights * _density(u)).sum() / total)
