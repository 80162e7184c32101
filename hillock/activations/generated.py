"""A torch value and slope from a formula alone, and its kinks.

The formula is first rewritten with functions that stay accurate and do not overflow (log(1 + e^a) -> softplus,
1/(1 + e^a) -> σ(-a), e^a - 1 -> expm1, tanh' -> sech²), then differentiated, then printed as torch source. Each case of
a `Piecewise` is computed only on inputs that belong to it, so that what another case would overflow to cannot reach a
gradient. At ±∞ the function is computed at the largest finite number, and e^a stops near it; a factor that has
underflowed makes its product 0 however large the others are. Only a ratio whose parts both overflow is NaN there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from hillock.activations import formula as formulas
from hillock.activations import stable
from hillock.activations.parts import Kink
from hillock.errors import DeclarationError

__all__ = ["kinks", "source", "torch_function", "torch_slope"]

_SAMPLES = (
    0.0,
    1.0,
    -1.0,
    0.25,
    -0.25,
    3.0,
    -3.0,
    10.0,
    -10.0,
    100.0,
    -100.0,
)  # an inner point of a case is sought here
_VANISHING = frozenset({"exp", "logistic", "sech2"})  # functions that underflow to 0 while another factor overflows
_SAME_NAME = (
    "exp",
    "log",
    "sin",
    "cos",
    "tan",
    "sinh",
    "cosh",
    "asin",
    "acos",
    "atan",
    "asinh",
    "acosh",
    "atanh",
    "erf",
    "erfc",
)


def torch_function(expression: Any, parameters: tuple[str, ...]) -> Callable[..., Tensor]:
    """Return `value(x, **parameters)` computing the expression."""
    return _compiled(source(_stable(formulas.piecewise(expression)), parameters, "value"), "value")


def torch_slope(expression: Any, parameters: tuple[str, ...]) -> Callable[..., Tensor]:
    """Return `slope(x, **parameters)` computing the derivative of the expression by x."""
    import sympy

    slope = sympy.diff(_stable(formulas.piecewise(expression)), formulas.symbol("x"))
    slope = slope.replace(sympy.DiracDelta, lambda *arguments: sympy.Integer(0))
    return _compiled(source(slope, parameters, "slope"), "slope")


def kinks(expression: Any, constants: Mapping[str, float]) -> tuple[Kink, ...]:
    """Return where the slope or the function jumps at a boundary between cases, and on which side the slope belongs."""
    import sympy

    cases = formulas.piecewise(expression)
    x = formulas.symbol("x")
    numbers = {formulas.symbol(name): sympy.Float(value, 40) for name, value in constants.items()}
    places: set[float] = set()
    for condition in cases.atoms(sympy.core.relational.Relational):
        boundary = (condition.lhs - condition.rhs).subs(numbers)
        if boundary.free_symbols != {x}:
            continue
        places |= _roots(formulas.Oracle(boundary))
    value, slope = formulas.Oracle(cases, constants), formulas.Oracle(formulas.derivative(cases), constants)
    found = []
    for place in sorted(places):
        step = 1e-9 * max(1.0, abs(place))
        try:
            left, at, right = (float(slope(place + side * step)) for side in (-1, 0, 1))
            jump = abs(float(value(place + step) - value(place - step))) > 1e-6
        except (ZeroDivisionError, ValueError, TypeError):
            continue  # not finite there: the check that follows says so
        if jump or abs(left - right) > 1e-6:
            found.append(Kink(place, "left" if abs(at - left) <= abs(at - right) else "right", jump))
    return tuple(found)


def _roots(boundary: Callable[[float], Any]) -> set[float]:
    """Return where a boundary between cases is crossed within ±50: numbers on a grid of 1/64, or found by bisection."""
    grid = [k / 64 for k in range(-3200, 3201)]
    values = [float(boundary(x)) for x in grid]
    found = {x for x, here in zip(grid, values, strict=True) if here == 0}
    for (low, high), (left, right) in zip(pairwise(grid), pairwise(values), strict=True):
        if left * right < 0:
            for _ in range(60):
                middle = (low + high) / 2
                low, high = (middle, high) if float(boundary(middle)) * left > 0 else (low, middle)
            found.add(high)
    return found


def source(expression: Any, parameters: tuple[str, ...], name: str) -> str:
    """Return the Python source of a torch function computing the (already stable) expression.

    >>> print(source(_stable(formulas.parse("x/(1 + exp(-x))")), (), "value"))
    def value(x):
        given, x = x, _finite(x)
        return _finished(given, _product(_logistic(x), x))
    """
    arguments = ", ".join(["x", *parameters])
    body = _Printer(parameters).text(expression)
    return f"def {name}({arguments}):\n    given, x = x, _finite(x)\n    return _finished(given, {body})"


def _product(vanishing: Tensor, rest: Tensor | float) -> Tensor:
    """Return vanishing · rest, 0 where an exponential has underflowed, however large the rest has become."""
    return vanishing * torch.where(vanishing == 0, torch.zeros_like(vanishing), stable.full(vanishing, rest))


def _finished(x: Tensor, result: Tensor | float) -> Tensor:
    """Return the result in x's shape and dtype, NaN where x is."""
    return torch.where(torch.isnan(x), x, stable.full(x, result))


def _compiled(text: str, name: str) -> Callable[..., Tensor]:
    namespace: dict[str, Any] = {
        "torch": torch,
        "_finished": _finished,
        "_product": _product,
        "_finite": stable.finite,
        "_exp": stable.capped_exp,
        "_full": stable.full,
        "_logistic": stable.logistic,
        "_sech_squared": stable.sech_squared,
        "_softplus": stable.softplus,
    }
    exec(compile(text, f"<{name} generated from a formula>", "exec"), namespace)
    function: Callable[..., Tensor] = namespace[name]
    return function


@lru_cache(maxsize=1)
def _functions() -> dict[str, Any]:
    """Return the SymPy functions that stand for stable torch expressions, with their derivatives."""
    import sympy

    def function(name: str, slope: Callable[[Any], Any]) -> Any:
        return type(name, (sympy.Function,), {"fdiff": lambda self, index=1: slope(self.args[0]), "is_real": True})

    made: dict[str, Any] = {}
    made["softplus"] = function("softplus", lambda a: made["logistic"](a))
    made["logistic"] = function("logistic", lambda a: made["logistic"](a) * made["logistic"](-a))
    made["expm1"] = function("expm1", lambda a: sympy.exp(a))
    made["log1p"] = function("log1p", lambda a: 1 / (1 + a))
    made["tanh"] = function("tanh_", lambda a: made["sech2"](a))
    made["sech2"] = function("sech2", lambda a: -2 * made["tanh"](a) * made["sech2"](a))
    return made


def _stable(expression: Any) -> Any:
    """Return the expression with overflowing and cancelling parts replaced by functions that do neither."""
    import sympy

    made = _functions()
    a, c = sympy.Wild("a"), sympy.Wild("c", properties=[lambda k: k.is_number])
    n = sympy.Wild("n", properties=[lambda k: k.is_number and k.is_negative])
    expression = expression.replace(sympy.log(1 + sympy.exp(a)), made["softplus"](a))
    expression = expression.replace((1 + sympy.exp(a)) ** n, made["logistic"](-a) ** (-n))
    expression = expression.replace(sympy.Mul, _joined_exponentials)
    expression = expression.replace(c * sympy.exp(a) - c, c * made["expm1"](a))
    expression = expression.replace(sympy.tanh, made["tanh"])
    return expression.replace(sympy.log(1 + a), made["log1p"](a))


def _joined_exponentials(*factors: Any) -> Any:
    """Return a product in which e^a σ(-a) has become σ(a)."""
    import sympy

    logistic = _functions()["logistic"]
    left = list(factors)
    for factor in factors:
        partner = logistic(-factor.args[0]) if isinstance(factor, sympy.exp) else None
        if partner in left and factor in left:
            left.remove(partner)
            left[left.index(factor)] = logistic(factor.args[0])
    return sympy.Mul(*left)


class _Printer:
    """Prints an expression as torch source; every subexpression in brackets."""

    def __init__(self, parameters: tuple[str, ...]) -> None:
        self.parameters = parameters

    def text(self, node: Any) -> str:
        import sympy

        if node.is_Symbol:
            return str(node.name)
        if node.is_number and not node.has(sympy.Function):
            return repr(float(node))
        if node.is_Add:
            return "(" + " + ".join(self.text(term) for term in node.args) + ")"
        if node.is_Mul:
            return self.product(node)
        if node.is_Pow:
            return self.power(*node.as_base_exp())
        if isinstance(node, sympy.Piecewise):
            return self.cases(node)
        return self.call(node)

    def product(self, node: Any) -> str:
        """Print a product: e^-a is multiplied, never made a division, and where it underflows the product is 0."""
        import sympy

        vanishing = [factor for factor in node.args if type(factor).__name__ in _VANISHING and factor.free_symbols]
        above, below = sympy.fraction(sympy.Mul(*(factor for factor in node.args if factor not in vanishing)))
        rest = self.multiplied(above.args if above.is_Mul else (above,))
        if below != 1:
            rest = f"({rest} / {self.text(below)})"
        if not vanishing:
            return rest
        small = self.multiplied(vanishing)
        return small if above == below == 1 else f"_product({small}, {rest})"

    def multiplied(self, factors: Iterable[Any]) -> str:
        """Print the factors one after another, in brackets when they are several."""
        texts = [self.text(factor) for factor in factors]
        return texts[0] if len(texts) == 1 else "(" + " * ".join(texts) + ")"

    def power(self, base: Any, exponent: Any) -> str:
        import sympy

        if exponent == sympy.Rational(1, 2):
            return f"torch.sqrt(_full(x, {self.text(base)}))"
        if exponent.is_number and exponent.is_negative:
            return f"(1 / {self.text(base**-exponent)})"
        if isinstance(exponent, sympy.Integer) and int(exponent) <= 4:
            return "(" + " * ".join([self.text(base)] * int(exponent)) + ")"
        return f"({self.text(base)} ** {self.text(exponent)})"

    def call(self, node: Any) -> str:
        import sympy

        name = type(node).__name__
        if isinstance(node, sympy.Heaviside):
            return f"_full(x, {self.text(node.args[0])} > 0).to(x.dtype)"
        own = {
            "softplus": "_softplus",
            "logistic": "_logistic",
            "sech2": "_sech_squared",
            "tanh_": "torch.tanh",
            "exp": "_exp",
            "expm1": "torch.expm1",
            "log1p": "torch.log1p",
        }
        torch_name = own.get(name) or (f"torch.{name}" if name in _SAME_NAME else "")
        if not torch_name:
            raise DeclarationError("a formula that torch can compute", got=f"the function {name}")
        argument = self.text(node.args[0])
        free = {str(symbol) for symbol in node.free_symbols}
        return f"{torch_name}({argument})" if "x" in free else f"{torch_name}(_full(x, {argument}))"

    def cases(self, node: Any) -> str:
        """Print a Piecewise as nested torch.where; the cases see only inputs of their own."""
        import sympy

        text = "_full(x, float('nan'))"
        before: list[Any] = []
        pieces = []
        for branch, condition in node.args:
            chosen = sympy.And(*(sympy.Not(earlier) for earlier in before), condition)
            pieces.append((branch, condition, chosen))
            before.append(condition)
        for branch, condition, chosen in reversed(pieces):
            body = f"_full(x, {self.text(branch)})"
            if formulas.symbol("x") in branch.free_symbols and chosen != sympy.true:
                body = f"(lambda x: {body})(torch.where({self.condition(chosen)}, x, {_inner_point(chosen)!r}))"
            text = body if condition == sympy.true else f"torch.where({self.condition(condition)}, {body}, {text})"
        return text

    def condition(self, node: Any) -> str:
        import sympy

        if node == sympy.true or node == sympy.false:
            return f"(x == x) == {node == sympy.true}"
        if isinstance(node, (sympy.And, sympy.Or)):
            return "(" + (" & " if isinstance(node, sympy.And) else " | ").join(map(self.condition, node.args)) + ")"
        if isinstance(node, sympy.Not):
            return f"(~{self.condition(node.args[0])})"
        comparison = {"Eq": "==", "Ne": "!="}.get(type(node).__name__, getattr(node, "rel_op", ""))
        return f"(_full(x, {self.text(node.lhs)}) {comparison} {self.text(node.rhs)})"


def _inner_point(condition: Any) -> float:
    """Return a number at which the condition holds (parameters counted as 1), or 0 if none of the samples does."""
    import sympy

    others = {name: 1 for name in condition.free_symbols if name.name != "x"}
    for sample in _SAMPLES:
        if condition.subs(others).subs(formulas.symbol("x"), sympy.Float(sample)) == sympy.true:
            return sample
    return 0.0
