"""The laws that every pointwise function of the catalogue keeps, as functions of a declaration.

`test_laws.py` holds them for the whole catalogue, `test_laws_bite.py` for planted faults, which they have to catch.
"""

from __future__ import annotations

import math
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any

import mpmath
import numpy
import torch

from hillock import kernels
from hillock.activations import CATALOGUE, Activation, moments
from hillock.activations import formula as formulas
from hillock.randomness import generator

POINTWISE = tuple(entry for entry in CATALOGUE if isinstance(entry, Activation))
FORMATS = {
    torch.float32: (-149, 128, 24),
    torch.float64: (-1074, 1024, 53),
}  # exponent of the smallest denormal, first exponent beyond the largest number, bits of the significand
FLOAT32_BUDGET = 1.0  # ulp: the contract of the kernels, for every input
FLOAT64_BUDGET = 8.0  # ulp of the result, or of what half an ulp of the input changes (see `_unit`)
# Two polynomials with coefficients up to 4.4 that cancel, in float64 too. The most that was seen: in float64 74 ulp; in
# float32 241 at the floats next to its turning points, where the slope is 1e-11 of the terms it is the difference of.
LOOSER = {("pau", torch.float64): 128.0, ("pau", torch.float32): 256.0}


@lru_cache(maxsize=4)
def binades(dtype: torch.dtype) -> tuple[float, ...]:
    """Both signs of a number in every binade (float64: every thirteenth), denormals of all sizes among them."""
    lowest, highest, _ = FORMATS[dtype]
    step = 1 if dtype is torch.float32 else 13
    found = {sign * (1.37 if e % 2 else 1.0) * 2.0**e for e in range(lowest, highest - 1, step) for sign in (1, -1)}
    largest = torch.finfo(dtype).max
    return tuple(found | {largest, -largest, torch.finfo(dtype).tiny, -torch.finfo(dtype).tiny, 0.0})


def neighbourhood(places: tuple[float, ...], dtype: torch.dtype) -> list[float]:
    """The numbers at and next to the places, and ever closer ones from both sides."""
    kind = numpy.float32 if dtype is torch.float32 else numpy.float64
    found: list[float] = []
    for place in places:
        at = kind(place)
        scale = max(1.0, abs(place))
        found += [at, numpy.nextafter(at, kind(-math.inf)), numpy.nextafter(at, kind(math.inf))]
        found += [kind(place + sign * scale * 2.0**-k) for k in range(2, 40, 6) for sign in (1, -1)]
    return [float(number) for number in found]


# Where a slope touches 0, or a periodic function has a root or turns: places that the traits do not list.
ROOTS: dict[str, tuple[float, ...]] = {
    "cosid": (0.7390851332151607, -math.pi / 2, 3 * math.pi / 2),
    "cosine": (math.pi / 2, math.pi, -5 * math.pi / 2),
    "minsin": (math.pi, math.pi / 2),
    "sinc": (math.pi, 4.493409457909064),
    "sinusoid": (math.pi / 2, math.pi, -2 * math.pi),
}


@lru_cache(maxsize=256)
def grid(activation: Activation, dtype: torch.dtype) -> tuple[float, ...]:
    """Every binade, [-20, 20], tails, and the neighbourhood of kinks, turning points and roots, in that dtype."""
    turning = (activation.traits.turning or ()) if activation.traits else ()
    special = (*activation.kink_places(), *turning, *ROOTS.get(activation.name, ()))
    line = [k / 4 + 0.03 for k in range(-40, 41)] + [k * 3.3 for k in range(-35, 36)]
    if dtype is torch.float64:
        line = [k / 3 + 0.03 for k in range(-30, 31)] + [k * 19.7 for k in range(-40, 41)]
    numbers = [*binades(dtype), *neighbourhood(special, dtype), *line]
    return tuple(sorted(set(torch.tensor(numbers, dtype=dtype).tolist())))


class Exact:
    """The oracle of a formula and its first two derivatives, with a memory."""

    def __init__(self, formula: Any, constants: tuple[tuple[str, float], ...]) -> None:
        self.expressions = [formula]
        for _ in range(2):
            self.expressions.append(formulas.derivative(self.expressions[-1]))
        self.oracles = [formulas.Oracle(expression, dict(constants)) for expression in self.expressions]
        self.known: dict[tuple[int, float], Any] = {}

    def __call__(self, x: float, order: int) -> Any:
        if (order, x) not in self.known:
            self.known[order, x] = self.oracles[order](x)
        return self.known[order, x]


@cache
def _exact(formula: Any, constants: tuple[tuple[str, float], ...]) -> Exact:
    return Exact(formula, constants)


def exact(activation: Activation) -> Exact:
    return _exact(activation.expression, tuple(activation.constants().items()))


def ulp(number: Any, dtype: torch.dtype) -> Any:
    """The distance between neighbouring floats at an exact number."""
    lowest, _, bits = FORMATS[dtype]
    exponent = int(mpmath.frexp(number)[1]) if number else lowest
    return mpmath.ldexp(1, max(exponent - bits, lowest))


def _unit(activation: Activation, x: float, order: int, answer: Any, dtype: torch.dtype) -> Any:
    """What an error is measured in.

    float32: an ulp of the result. float64, where nothing wider is at hand: that or, if larger, what half an ulp of the
    input changes (so x²·ε relative in a Gaussian tail); and below the smallest normal number |x| + 2 denormals.
    """
    unit = ulp(answer, dtype)
    if dtype is torch.float32:
        return unit
    conditioned = abs(x * exact(activation)(x, order + 1)) * mpmath.mpf(2) ** -53
    return max(unit, conditioned, (2 + abs(x)) * mpmath.mpf(2) ** -1074)


def agreement_law(activation: Activation, order: int, dtype: torch.dtype) -> float:
    """Formula = value (order 0), symbolic derivative = slope (order 1). Return the largest error in ulp."""
    places = grid(activation, dtype)
    x = torch.tensor(places, dtype=dtype)
    constants = activation.constants()
    if dtype is torch.float32:
        got = (kernels.slope if order else kernels.apply)(activation, x, constants)
    else:
        got = (activation.slope if order else activation.value)(x, **constants)
    budget = LOOSER.get((activation.name, dtype), FLOAT32_BUDGET if dtype is torch.float32 else FLOAT64_BUDGET)
    kinks, largest, worst = activation.kink_places(), torch.finfo(dtype).max, 0.0
    for place, found in zip(places, got.tolist(), strict=True):
        if order and any(abs(place - kink) <= 4 * math.ulp(kink) for kink in kinks):
            continue  # the kink law looks there
        answer = exact(activation)(place, order)
        if abs(answer) > largest:
            assert abs(found) >= largest / 2, f"{activation} at {place!r}: {found!r} where it overflows"
            continue
        assert math.isfinite(found), f"{activation} at {place!r}: {found!r}, exactly {float(answer)!r}"
        error = abs(mpmath.mpf(found) - answer)
        if error > 4 * ulp(answer, dtype):
            error /= _unit(activation, place, order, answer, dtype)
        else:
            error /= ulp(answer, dtype)
        worst = max(worst, float(error))
        assert worst < budget, (
            f"{'slope' if order else 'value'} of {activation} in {dtype} at {place!r}: {found!r}, "
            f"{worst:.3g} ulp from {float(answer)!r}"
        )
    return worst


def special_values_law(activation: Activation) -> None:
    """NaN in, NaN out, for value and slope; ±∞ gives the declared limits; the limits are approached."""
    traits = activation.traits
    assert traits is not None
    for dtype in (torch.float64, torch.float32):
        x = torch.tensor([-math.inf, math.inf, math.nan], dtype=dtype)
        constants = activation.constants()
        value, slope = kernels.apply(activation, x, constants), kernels.slope(activation, x, constants)
        assert math.isnan(value[2]), f"value of {activation} loses NaN in {dtype}"
        assert math.isnan(slope[2]), f"slope of {activation} loses NaN in {dtype}"
        for found, declared in zip(
            (*value[:2].tolist(), *slope[:2].tolist()), (*traits.limits, *traits.slope_limits), strict=True
        ):
            assert _same(found, declared, dtype), f"{activation} at ±inf in {dtype}: {found}, declared {declared}"
    for x_far, limit, slope_limit in zip((-1e30, 1e30), traits.limits, traits.slope_limits, strict=True):
        for order, declared in ((0, limit), (1, slope_limit)):
            far = exact(activation)(x_far, order)
            if math.isinf(declared):
                assert abs(far) > 1e5, f"{activation} goes to {float(far)}, not {declared}"
                assert (far > 0) == (declared > 0), f"{activation} goes to {float(far)}, not {declared}"
            elif not math.isnan(declared):
                assert abs(far - declared) < 1e-12, f"{activation} goes to {float(far)}, not {declared}"


def _same(found: float, declared: float, dtype: torch.dtype) -> bool:
    if math.isnan(declared) or math.isinf(declared):
        return math.isnan(found) if math.isnan(declared) else found == declared
    return abs(found - declared) <= torch.finfo(dtype).eps * max(1.0, abs(declared))


def kink_law(activation: Activation) -> None:
    """At a kink the slope is the declared one; the one-sided slopes differ there, or the function jumps."""
    constants = activation.constants()
    for kink in activation.kinks:
        place = kink.place(constants)
        step = 1e-7 * max(1.0, abs(place))
        left, right = (float(exact(activation)(place + side * step, 1)) for side in (-1, 1))
        low, high = (float(exact(activation)(place + side * step, 0)) for side in (-1, 1))
        assert (abs(low - high) > 1e-4) == kink.jump, f"{activation} at {place}: from {low} to {high}, jump={kink.jump}"
        wanted = {"left": left, "right": right}.get(kink.slope, kink.slope)  # type: ignore[arg-type]
        for dtype in (torch.float64, torch.float32):
            at = torch.tensor(place, dtype=dtype)
            if at.double().item() == place:
                found = kernels.slope(activation, at, constants).item()
                assert abs(found - float(wanted)) < 1e-5, (
                    f"slope of {activation} at {place}: {found}, declared {wanted}"
                )


def traits_law(activation: Activation) -> None:
    """Bounds are kept and reached, the slope keeps its sign between turning points, symmetry holds bit by bit."""
    traits = activation.traits
    assert traits is not None
    places = grid(activation, torch.float64)
    x = torch.tensor(places, dtype=torch.float64)
    constants = activation.constants()
    value, slope = activation.value(x, **constants), activation.slope(x, **constants)
    low, high = traits.bounds
    slack = 1e-15
    assert bool((value >= low - slack * max(1.0, abs(low))).all()), f"{activation} goes below {low}: {value.min()}"
    assert bool((value <= high + slack * max(1.0, abs(high))).all()), f"{activation} goes above {high}: {value.max()}"
    for bound, reached in ((low, value.min().item()), (high, value.max().item())):
        near = abs(reached) > 1e5 if math.isinf(bound) else abs(reached - bound) < 1e-2 * max(0.1, abs(bound))
        assert near, f"{activation} reaches {reached}, the bound is {bound}"
    if traits.turning is not None:
        edges = [-1e308, *traits.turning, 1e308]
        signs = []
        for left, right in pairwise(edges):
            inside = (x > left + 64 * math.ulp(left)) & (x < right - 64 * math.ulp(right))
            piece = torch.sign(slope[inside])
            signs.append({sign for sign in piece.tolist() if sign})
            assert len(signs[-1]) <= 1, f"{activation} turns between {left} and {right}"
        for before, after in pairwise(signs):
            assert before != after, f"{activation} does not turn where it is said to"
    mirrored = activation.value(-x, **constants)
    odd, even = bool((mirrored == -value).all()), bool((mirrored == value).all())
    assert (odd, even) == (traits.symmetry == "odd", traits.symmetry == "even"), f"{activation}: odd {odd}, even {even}"


def gain_law(activation: Activation, gain: float) -> None:
    """The gain agrees with 400,000 draws of z ~ N(0, 1), within five standard errors."""
    z = torch.randn(400_000, generator=generator(0, "gain law"), dtype=torch.float64)
    squares = activation.value(z, **activation.constants()) ** 2
    found, error = squares.mean().item(), squares.std().item() / math.sqrt(squares.numel())
    assert abs(found - 1 / gain**2) <= 5 * error + 1e-12, f"gain of {activation}: {gain}, drawn {1 / math.sqrt(found)}"


def moments_law(activation: Activation) -> None:
    """Mean and E[φ'²] agree with the same draws."""
    z = torch.randn(400_000, generator=generator(0, "gain law"), dtype=torch.float64)
    constants = activation.constants()
    for drawn, computed in (
        (activation.value(z, **constants), moments.mean(activation)),
        (activation.slope(z, **constants) ** 2, moments.slope_second_moment(activation)),
    ):
        error = drawn.std().item() / math.sqrt(drawn.numel())
        assert abs(drawn.mean().item() - computed) <= 5 * error + 1e-12, (
            f"{activation}: {computed}, drawn {drawn.mean()}"
        )
