"""What theory expects of each depth: the mean-field curves of a wide network for the activations that were seen.

In a wide network with independent weights the input of an activation is normal with variance q, and one layer maps

    q -> σ² E[φ(√q z)²] + b²          (forward; σ² = Σ w² of a unit, b² its mean squared bias)
    c -> (σ² E[φ(u)φ(v)] + b²) / q'   (cosine of two samples; u, v normal with variance q and cosine c)
    G² -> σ² E[φ'(√q z)²] G²          (backward)

The expectations are taken over φ as it was seen to act (its values on a grid), so they exist for anybody's function.

**Source** Poole et al. 2016, arXiv 1606.05340; Schoenholz et al. 2017, arXiv 1611.01232.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy
from scipy import stats

from hillock.diagnosis.site import SATURATION_SHARE, Character, Site

__all__ = ["Prediction", "expectation", "expected_flat_share", "expected_saturated_share", "predict"]

# Points of the quadrature over a standard normal variable: even, so that none lies on a kink at 0; 60 integrate a
# kinked function to about 1 %.
POINTS = 60
# Quantiles of the standard normal distribution that stand for it where a share is asked for: exact to 1 / 400.
QUANTILES = 400


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The expected curves, one number a site; NaN where a site's input does not come from one weighted layer alone.

    - `z_rms`: root mean square of the input. `gain_backward`: factor on the gradient's norm from this site to the one
      before. `cosine`: of two samples' outputs, which is also the expected mean shift: units' means are what two
      samples have in common.
    """

    z_rms: tuple[float, ...]
    gain_backward: tuple[float, ...]
    cosine: tuple[float, ...]


def predict(sites: Sequence[Site]) -> Prediction:
    """Follow the curves from the first site's measured values through plain layers; start again after others."""
    with numpy.errstate(invalid="ignore", over="ignore"):  # a sick network's numbers overflow; the curves then stop
        return _followed(sites)


def _followed(sites: Sequence[Site]) -> Prediction:
    z_rms, backward, cosines = [], [], []
    q, input_cosine = math.nan, math.nan
    before: Site | None = None
    for site in sites:
        backward.append(math.nan)
        weights = [part for part in site.between if part[0] == "weights"]
        plain = before is not None and len(weights) == 1 and len(site.between) == 1 and q > 0
        if plain and before is not None:
            _, moment, shift = weights[0]
            power = expectation(before.character, "values_squared", q)
            backward[-1] = math.sqrt(moment * expectation(site.character, "slopes_squared", q))
            new = moment * power + shift
            pair = pair_expectation(before.character, q, input_cosine)
            input_cosine = (moment * pair + shift) / new if new > 0 else math.nan
            q = new
        else:
            q = site.z_rms**2
            input_cosine = _input_cosine(site)
        power = expectation(site.character, "values_squared", q)
        cosine = pair_expectation(site.character, q, input_cosine) / power if power > 0 else math.nan
        z_rms.append(math.sqrt(q) if plain else math.nan)
        cosines.append(cosine if plain else math.nan)
        before = site
    return Prediction(tuple(z_rms), tuple(backward), tuple(cosines))


def expectation(character: Character, what: str, q: float) -> float:
    """Return E[f(√q z)] for z ~ N(0, 1), f one of `values`, `values_squared`, `slopes_squared`."""
    if not math.isfinite(q) or q < 0:
        return math.nan
    places, weights = _nodes()
    return float(_at(character, what, math.sqrt(q) * places) @ weights)


def pair_expectation(character: Character, q: float, cosine: float) -> float:
    """Return E[φ(u) φ(v)] for normal u, v of variance q and the given cosine."""
    if not (math.isfinite(q) and math.isfinite(cosine)) or q < 0:
        return math.nan
    cosine = min(max(cosine, -1.0), 1.0)
    places, weights = _nodes()
    scale = math.sqrt(q)
    first = _at(character, "values", scale * places)
    mixed = scale * (cosine * places[:, None] + math.sqrt(1 - cosine**2) * places[None, :])
    second = _at(character, "values", mixed.ravel()).reshape(mixed.shape) @ weights
    return float((first * second) @ weights)


def expected_flat_share(character: Character) -> float:
    """Return the share of flat values (|φ'| below 5 % of the largest) for z ~ N(0, 1): 0.03 for tanh.

    N(0, 1) is what an activation receives where the weights are drawn with the gain made for it. Of a function that is
    0 for every negative input only the high side counts.
    """
    return float(_flat(character, _quantiles()).mean())


def expected_saturated_share(character: Character, common: float, limit: float) -> float:
    """Return the expected share of units with at least `limit` flat values where units together receive N(0, 1).

    `common`: the share of the inputs' power that all samples have in common. It shifts each unit, by N(0, common);
    around that a unit sees N(., 1 - common).
    """
    common = min(max(common, 0.0), 1.0)
    shifts, draws = math.sqrt(common) * _quantiles(), math.sqrt(1 - common) * _quantiles()
    shares = _flat(character, shifts[:, None] + draws[None, :]).mean(axis=1)
    return float((shares >= limit).mean())


def _flat(character: Character, z: numpy.ndarray) -> numpy.ndarray:
    slopes_squared = numpy.interp(z, character.grid.numpy(), character.slopes_squared.numpy())
    flat: numpy.ndarray = slopes_squared < (SATURATION_SHARE * character.max_slope) ** 2
    return flat & (z >= 0) if character.rectifying else flat


@functools.lru_cache(maxsize=1)
def _quantiles() -> numpy.ndarray:
    found: numpy.ndarray = stats.norm.ppf((numpy.arange(QUANTILES) + 0.5) / QUANTILES)
    return found


def _input_cosine(site: Site) -> float:
    """The cosine of the inputs that explains the measured cosine of the outputs, by bisection."""
    measured = site.cosine.mean
    q = site.z_rms**2
    power = expectation(site.character, "values_squared", q)
    if measured is None or not power > 0:
        return math.nan
    low, high = -1.0, 1.0
    for _ in range(30):
        middle = (low + high) / 2
        if pair_expectation(site.character, q, middle) / power < measured:
            low = middle
        else:
            high = middle
    return (low + high) / 2


@functools.lru_cache(maxsize=1)
def _nodes() -> tuple[numpy.ndarray, numpy.ndarray]:
    places, weights = numpy.polynomial.hermite_e.hermegauss(POINTS)
    return places, weights / weights.sum()


def _at(character: Character, what: str, places: numpy.ndarray) -> numpy.ndarray:
    """Return a function of the grid at any place; beyond the grid values go on as straight lines, slopes stay."""
    grid = character.grid.numpy()
    known = getattr(character, what).numpy()
    found: numpy.ndarray = numpy.interp(places, grid, known)
    if what == "slopes_squared":
        return found
    if what == "values_squared":
        values = _at(character, "values", places)
        beyond = (places < grid[0]) | (places > grid[-1])
        return numpy.asarray(numpy.where(beyond, values**2, found))
    left = known[0] + (places - grid[0]) * (known[1] - known[0]) / (grid[1] - grid[0])
    right = known[-1] + (places - grid[-1]) * (known[-1] - known[-2]) / (grid[-1] - grid[-2])
    return numpy.asarray(numpy.where(places < grid[0], left, numpy.where(places > grid[-1], right, found)))
