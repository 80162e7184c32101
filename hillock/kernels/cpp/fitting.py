"""Polynomials in the Chebyshev sense (interpolation in Chebyshev nodes) with 60 digits, and their C++ literals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import mpmath
import numpy
from mpmath import mpf

mpmath.mp.dps = 60
GENERATED = Path(__file__).parent / "generated"
Function = Callable[[mpf], mpf]


def chebyshev_fit(function: Function, low: float, high: float, degree: int) -> list[mpf]:
    """Return monomial coefficients (lowest first) of the interpolant in the degree+1 Chebyshev nodes of [low, high]."""
    count = degree + 1
    middle, half = (mpf(high) + low) / 2, (mpf(high) - low) / 2
    nodes = [middle + half * mpmath.cos(mpmath.pi * (2 * j + 1) / (2 * count)) for j in range(count)]
    matrix = mpmath.matrix(count, count)
    right = mpmath.matrix(count, 1)
    for row, node in enumerate(nodes):
        right[row] = function(node)
        for column in range(count):
            matrix[row, column] = node**column
    return list(mpmath.lu_solve(matrix, right))


def relative_error(function: Function, coefficients: Sequence[mpf], low: float, high: float) -> float:
    """Return log2 of the largest relative error on 400 points."""
    worst = mpf(0)
    for j in range(401):
        x = mpf(low) + (mpf(high) - low) * j / 400
        exact = function(x)
        if exact != 0:
            worst = max(worst, abs(mpmath.polyval(list(reversed(list(coefficients))), x) / exact - 1))
    return float(mpmath.log(worst, 2)) if worst else -200.0


def hexadecimal(value: mpf, suffix: str = "") -> str:
    """Return the nearest double as a C++ hexadecimal literal."""
    return float(value).hex() + suffix


def long_literal(value: mpf) -> str:
    return str(mpmath.nstr(value, 25, strip_zeros=False)) + "L"


def array(name: str, kind: str, values: Sequence[str], note: str) -> str:
    body = ",\n    ".join(values)
    return f"// {note}\ninline constexpr {kind} {name}[] = {{\n    {body}}};\n\n"


def single(value: mpf) -> float:
    """Return the nearest float32."""
    with numpy.errstate(over="ignore"):
        return float(numpy.float32(float(value)))


def rounded_in_turn(coefficients: Sequence[mpf], low: mpf, high: mpf, weight: Function) -> list[float]:
    """Return the coefficients as float32, lowest first; each takes up the rounding error of those before it.

    The error that remains, times `weight`, is made small by least squares over the interval.
    """
    nodes = [(low + high) / 2 + (high - low) / 2 * mpmath.cos(mpmath.pi * (j + mpf(0.5)) / 64) for j in range(64)]
    weights = numpy.array([float(abs(weight(r))) for r in nodes])
    points = numpy.array([float(r) for r in nodes])
    wanted = numpy.zeros(len(nodes))  # what the coefficients still to come have to add to their exact values
    rounded: list[float] = []
    for k, exact in enumerate(coefficients):
        powers = numpy.stack([points**j for j in range(k, len(coefficients))], axis=1)
        scale = numpy.abs(powers).max(axis=0)
        change = numpy.linalg.lstsq(powers / scale * weights[:, None], wanted * weights, rcond=None)[0] / scale
        chosen = single(exact + mpf(float(change[0])))
        rounded.append(chosen)
        wanted = wanted + float(exact - mpf(chosen)) * points**k
    return rounded
