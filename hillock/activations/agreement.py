"""Does a declaration agree with its own formula? If not, the point where it fails is named.

Run whenever a declaration is made by hand; the catalogue's own are held to the far stricter laws of the test-suite.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy
import torch

from hillock.activations import formula as formulas
from hillock.errors import DeclarationError

if TYPE_CHECKING:
    from hillock.activations.declaration import Activation

__all__ = ["check"]

RELATIVE = 1e-6  # a formula that is right but not written stably is let in; a wrong one is off by far more
ABSOLUTE = 1e-7
LARGEST = 1e4  # inputs of a network beyond this are not probed: a cube or an exponential may overflow there
SCAN = numpy.arange(-20.0, 20.0, 1 / 64) + 1 / 256  # places between which poles are looked for
BLOW_UP = 1e6  # a sign change at which the function grows by more than this is a pole, not a root


def check(activation: Activation) -> None:
    """Refuse a formula that is not finite somewhere, or a value or slope that contradicts it.

    >>> from hillock.activations import Activation
    >>> Activation(name="pole", formula="1/(x - 2)")
    Traceback (most recent call last):
    hillock.errors.DeclarationError: expected a formula of pole that is finite everywhere, got no finite value at x = 2
    """
    constants = activation.constants()
    places = _probes(activation)
    value = formulas.Oracle(activation.expression, constants)
    slope = formulas.Oracle(activation.derivative, constants)
    inputs = torch.tensor(places, dtype=torch.float64)
    values = activation.value(inputs, **constants).tolist()
    slopes = activation.slope(inputs, **constants).tolist()
    kinks = set(activation.kink_places())
    exact_values = [_exact(activation.name, "value", value, x) for x in places]
    exact_slopes = [math.nan if x in kinks else _exact(activation.name, "slope", slope, x) for x in places]
    for x, got_value, got_slope, exact_value, exact_slope in zip(
        places, values, slopes, exact_values, exact_slopes, strict=True
    ):
        _compare(activation.name, "value", x, got_value, exact_value)
        if x not in kinks:
            _compare(activation.name, "slope", x, got_slope, exact_slope)
    _find_poles(activation, constants)


def _probes(activation: Activation) -> list[float]:
    """Return both signs of powers of ten, a grid, and the kinks with their neighbourhood."""
    magnitudes = [10.0**power for power in (*range(-30, -8, 7), *range(-8, 5))]
    places = {
        0.0,
        *magnitudes,
        *(-m for m in magnitudes),
        *(k / 8 for k in range(-96, 97, 3)),
        50.0,
        -50.0,
    }
    for kink in activation.kink_places():
        places |= {kink, kink - 1e-3, kink + 1e-3}
    return sorted(x for x in places if abs(x) <= LARGEST)


def _exact(name: str, what: str, oracle: formulas.Oracle, x: float) -> float:
    try:
        exact = oracle(x)
        number = float(exact) if not hasattr(exact, "imag") or exact.imag == 0 else math.nan
    except (ZeroDivisionError, ValueError, TypeError):  # what mpmath raises at a pole or outside a domain
        number = math.nan
    except OverflowError:
        number = math.inf
    if math.isnan(number):
        raise _not_finite(name, what, x)
    return number


def _not_finite(name: str, what: str, x: float) -> DeclarationError:
    return DeclarationError(f"a formula of {name} that is finite everywhere", got=f"no finite {what} at x = {x:.9g}")


def _compare(name: str, what: str, x: float, got: float, exact: float) -> None:
    if math.isinf(exact):
        return  # beyond the largest float: what comes out there is not this check's business
    if abs(got - exact) <= RELATIVE * abs(exact) + ABSOLUTE * max(1.0, abs(x)):
        return
    advice = f"giving {what}= as a torch function that is accurate there"
    if not math.isfinite(got):
        advice = f"writing the formula so that it does not overflow there, or {advice}"
    raise DeclarationError(
        f"the {what} of {name} to agree with its formula",
        got=f"{got:.9g} at x = {x:.9g} where it is {exact:.9g}",
        instead=advice,
    )


def _find_poles(activation: Activation, constants: dict[str, float]) -> None:
    """Look for a pole between the probes: a change of sign across which value or slope blows up."""
    for what, function in (("value", activation.value), ("slope", activation.slope)):

        def at(x: float, function: object = function) -> float:
            return float(function(torch.tensor(x, dtype=torch.float64), **constants))  # type: ignore[operator]

        numbers = function(torch.from_numpy(SCAN), **constants).numpy()
        for index in numpy.flatnonzero(numbers[:-1] * numbers[1:] < 0):
            low, high = float(SCAN[index]), float(SCAN[index + 1])
            sign, largest = math.copysign(1.0, numbers[index]), abs(numbers[index : index + 2]).max()
            seen = 0.0
            for _ in range(40):
                middle = (low + high) / 2
                here = at(middle)
                seen = max(seen, abs(here)) if math.isfinite(here) else math.inf
                low, high = (middle, high) if here * sign > 0 else (low, middle)
            if seen > BLOW_UP * max(1.0, largest):
                raise _not_finite(activation.name, what, (low + high) / 2)
