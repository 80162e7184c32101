"""The formula as text -> SymPy expression, derivative, LaTeX, and an oracle of 50 correct digits.

A formula is written in `x`, the parameters' names, numbers and the functions listed in `FUNCTIONS`; decimal numbers are
exact (0.044715 is 8943/200000). Nothing here is needed to run an activation, so SymPy is only imported on first use.

>>> derivative(parse("x*sigmoid(x)"))
x*exp(-x)/(1 + exp(-x))**2 + 1/(1 + exp(-x))
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from hillock.errors import DeclarationError

__all__ = ["FUNCTIONS", "Oracle", "derivative", "latex", "parse", "piecewise", "slope_latex", "symbol"]

# fmt: off
FUNCTIONS = (
    "Abs", "And", "E", "Eq", "False", "Heaviside", "Max", "Min", "Ne", "Or", "Phi", "Piecewise", "True", "abs", "acos",
    "acosh", "asin", "asinh", "atan", "atanh", "cos", "cosh", "erf", "erfc", "exp", "log", "max", "min", "pi",
    "sigmoid", "sign", "sin", "sinh", "softplus", "sqrt", "tan", "tanh",
)
# fmt: on

_DIGITS = (50, 420, 1700)  # precisions tried in turn until two agree
_AGREEMENT = 25  # digits in which two precisions must agree


def symbol(name: str) -> Any:
    """Return the real SymPy symbol of that name; all formulas share it."""
    import sympy

    return sympy.Symbol(name, real=True)


@lru_cache(maxsize=1024)
def parse(text: str, parameters: tuple[str, ...] = ()) -> Any:
    """Return the SymPy expression of a formula in x and the named parameters.

    Only the listed names may occur, so that a formula from a file cannot run anything else.

    >>> parse("import os")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    hillock.errors.DeclarationError: expected a formula in x, numbers and known functions, got the word 'import' in ...
    """
    import sympy
    from sympy.parsing.sympy_parser import convert_xor, parse_expr, rationalize, standard_transformations

    expected = "a formula in " + ", ".join(["x", *parameters, "numbers and known functions"])
    for word in re.findall(r"[^\W\d]\w*", re.sub(r"\d+(\.\d*)?[eE][-+]?\d+", "0", text)):
        if word not in FUNCTIONS and word != "x" and word not in parameters:
            raise DeclarationError(
                expected, got=f"the word {word!r} in {text!r}", instead="one of " + ", ".join(FUNCTIONS)
            )
    if re.search(r"[^\w\s+\-*/^().,<>=&|~]|\.\s*[^\W\d]", text) or "__" in text:
        raise DeclarationError(expected, got=repr(text))
    names: dict[str, Any] = {name: symbol(name) for name in ("x", *parameters)}
    names |= {
        "Phi": lambda z: sympy.erfc(-z / sympy.sqrt(2)) / 2,
        "sigmoid": lambda z: 1 / (1 + sympy.exp(-z)),
        "softplus": lambda z: sympy.log(1 + sympy.exp(z)),
        "max": sympy.Max,
        "min": sympy.Min,
        "abs": sympy.Abs,
    }
    try:
        expression = parse_expr(
            text, local_dict=names, transformations=(*standard_transformations, convert_xor, rationalize)
        )
    except Exception as error:  # SymPy raises whatever Python's own parser or its functions raise
        raise DeclarationError(expected, got=f"{text!r} ({type(error).__name__}: {error})") from None
    if not isinstance(expression, sympy.Expr):
        raise DeclarationError(expected, got=repr(text))
    return expression


@lru_cache(maxsize=1024)
def piecewise(expression: Any) -> Any:
    """Return the expression with Max, Min, Abs, sign and Heaviside written as cases."""
    import sympy

    if not expression.has(sympy.Max, sympy.Min, sympy.Abs, sympy.sign, sympy.Heaviside):
        return expression
    return sympy.piecewise_fold(expression.rewrite(sympy.Piecewise))


@lru_cache(maxsize=1024)
def derivative(expression: Any, by: str = "x") -> Any:
    """Return the derivative by x or a parameter, case by case."""
    import sympy

    return sympy.diff(piecewise(expression), symbol(by))


def latex(expression: Any) -> str:
    """Return the formula as LaTeX."""
    import sympy

    return str(sympy.latex(expression))


def slope_latex(expression: Any) -> str:
    """Return the derivative as LaTeX, simplified where SymPy finds a shorter form."""
    import sympy

    raw = derivative(expression)
    simple = sympy.simplify(raw)
    return latex(min((raw, simple), key=lambda candidate: len(sympy.latex(candidate))))


def _exp(z: Any) -> Any:
    """Return e^z, and 0 for z < -10^9: e^-e^x would else have an exponent with more digits than there is memory."""
    import mpmath

    return mpmath.mpf(0) if mpmath.im(z) == 0 and z < -(10**9) else mpmath.exp(z)


def _erf(z: Any) -> Any:
    import mpmath

    return mpmath.sign(z) if abs(z) > 10**5 else mpmath.erf(z)


def _erfc(z: Any) -> Any:
    """Return erfc(z), and 0 or 2 beyond ±10^5, where mpmath's own test of convergence overflows."""
    import mpmath

    return mpmath.mpf(0 if z > 0 else 2) if abs(z) > 10**5 else mpmath.erfc(z)


def _tanh(z: Any) -> Any:
    """Return tanh(z), and ±1 beyond ±10^9, for tanh(e^x)."""
    import mpmath

    return mpmath.sign(z) if abs(z) > 10**9 else mpmath.tanh(z)


_TAMED = {"exp": _exp, "erf": _erf, "erfc": _erfc, "tanh": _tanh}


class Oracle:
    """An expression evaluated to 25 correct digits or more, at any float.

    The precision is raised until two precisions agree, so that cancellation in the formula does not matter: x - tanh(x)
    is right at 1e-300. A small result y is tried again with log10(1/y) digits more, so that a term of its size that was
    lost beside a 1 is found.

    >>> oracle = Oracle(parse("x - tanh(x)"))
    >>> float(oracle(1e-60))
    3.333333333333333e-181
    """

    def __init__(self, expression: Any, constants: Mapping[str, float] | None = None) -> None:
        import sympy

        self._constants = dict(constants or {})
        arguments = [symbol("x"), *(symbol(name) for name in self._constants)]
        self._function: Callable[..., Any] = sympy.lambdify(arguments, expression, modules=[_TAMED, "mpmath"])

    def __call__(self, x: float) -> Any:
        """Return the exact value at the float x as an mpf; raise ZeroDivisionError or return nan at a pole."""
        import mpmath

        before, digits = None, _DIGITS[0]
        while digits <= _DIGITS[-1]:
            now = self._at(x, digits)
            if not mpmath.isfinite(now):
                return now
            with mpmath.workdps(_DIGITS[0]):
                if before and now and abs(now - before) <= abs(now) * mpmath.mpf(10) ** -_AGREEMENT:
                    return now
            raised = next((more for more in _DIGITS if more > digits), _DIGITS[-1] + 1)
            if before is None and now:
                raised = min(raised, 2 * digits + max(0, -int(mpmath.log10(abs(now)))))
            before, digits = now, raised
        return before

    def _at(self, x: float, digits: int) -> Any:
        """Return the expression at x, computed with that many digits; nan where it is not real."""
        import mpmath

        with mpmath.workdps(digits):
            now = self._function(mpmath.mpf(x), *(mpmath.mpf(value) for value in self._constants.values()))
            if isinstance(now, mpmath.mpc):
                return now.real if now.imag == 0 else mpmath.mpf("nan")
            return mpmath.mpf(now)
