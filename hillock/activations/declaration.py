"""Activation and Card: the records of the catalogue. Each checks itself when it is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

from torch import Tensor

from hillock.activations import formula as formulas
from hillock.activations.parts import Kink, Parameter, Source, Traits
from hillock.errors import DeclarationError, UnknownNameError

__all__ = ["Activation", "Card"]


def from_formula(x: Tensor, **parameters: Any) -> Tensor:
    """Stands for a value or slope that is not given by hand; replaced when the declaration is made."""
    raise AssertionError("a declaration replaces this when it is made")


@dataclass(frozen=True, eq=False)
class Activation:
    """A pointwise function φ(x), said once.

    Args:
        name: the canonical name, a Python identifier.
        formula: text in x and the parameters (see `formula.py`), or a SymPy expression. It is the truth.
        value, slope: stable torch expressions `value(x, **parameters)` for φ and φ'; left out: made from the formula.
        parameters: what shapes the function.
        kinks: where the slope jumps, and which slope is used there. Found from the formula when value is left out.
        traits: what holds at the ends and between them.
        variants: (keyword, option, name): `activation("gelu", approximate="tanh")` is the function of that name.
        trusted: the declaration is verified by the test-suite instead of each time it is made.

    Errors: `DeclarationError` with the point where the formula is not finite, or where value or slope contradicts it.

    Example:
        >>> wave = Activation(name="wave", formula="x*cos(x)")
        >>> import torch
        >>> wave.slope(torch.tensor(0.0, dtype=torch.float64)).item()
        1.0
    """

    name: str
    formula: str
    family: str = "own"
    aliases: tuple[str, ...] = ()
    source: Source | None = None
    remarks: tuple[str, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    kinks: tuple[Kink, ...] = ()
    traits: Traits | None = None
    value: Callable[..., Tensor] = from_formula
    slope: Callable[..., Tensor] = from_formula
    variants: tuple[tuple[str, str, str], ...] = ()
    trusted: bool = False
    _generated: tuple[str, ...] = field(default=(), init=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.isidentifier():
            raise DeclarationError(
                "an activation name of letters, digits and _", got=repr(self.name), instead="'my_wave'"
            )
        names = [parameter.name for parameter in self.parameters]
        if len(set(names)) != len(names):
            raise DeclarationError(f"parameters of {self.name} with different names", got=", ".join(names))
        if not isinstance(self.formula, str):
            object.__setattr__(self, "formula", str(self.formula))  # type: ignore[unreachable]
        if self.trusted:
            assert from_formula not in (self.value, self.slope), f"{self.name} is trusted, so it is written by hand"
        else:
            self._complete_and_check()

    def _complete_and_check(self) -> None:
        """Make what was not given by hand from the formula, then compare everything with the formula."""
        from hillock.activations import agreement, generated

        made: list[str] = []
        if self.value is from_formula:
            object.__setattr__(self, "value", generated.torch_function(self.expression, tuple(self.constants())))
            made.append("value")
            if not self.kinks:
                object.__setattr__(self, "kinks", generated.kinks(self.expression, self.constants()))
                made.append("kinks")
        if self.slope is from_formula:
            object.__setattr__(self, "slope", generated.torch_slope(self.expression, tuple(self.constants())))
            made.append("slope")
        object.__setattr__(self, "_generated", tuple(made))
        agreement.check(self)

    @cached_property
    def expression(self) -> Any:
        """The formula as a SymPy expression in x and the parameters."""
        return formulas.parse(self.formula, tuple(parameter.name for parameter in self.parameters))

    @property
    def derivative(self) -> Any:
        """φ' as a SymPy expression."""
        return formulas.derivative(self.expression)

    def constants(self, **overrides: Any) -> dict[str, float]:
        """Return a number for every parameter: the defaults, replaced by the checked overrides.

        >>> from hillock.activations import find
        >>> find("leaky_relu").constants(negative_slope=0.2)
        {'negative_slope': 0.2}
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        for name in overrides:
            if name not in known:
                raise UnknownNameError(f"parameter of {self.name}", name, known or ["no parameter at all"])
        return {
            name: parameter.check(overrides[name]) if name in overrides else parameter.default
            for name, parameter in known.items()
        }

    def kink_places(self, constants: Mapping[str, float] | None = None) -> tuple[float, ...]:
        """Return where the slope jumps, ascending, for these parameters (default: the defaults)."""
        numbers = self.constants() if constants is None else dict(constants)
        return tuple(sorted({kink.place(numbers) for kink in self.kinks}))

    @property
    def learned(self) -> tuple[str, ...]:
        """The names of the parameters that are trained unless asked otherwise."""
        return tuple(parameter.name for parameter in self.parameters if parameter.learned)

    @property
    def drawn(self) -> tuple[str, ...]:
        """The names of the parameters that are drawn anew in training."""
        return tuple(parameter.name for parameter in self.parameters if parameter.drawn)

    def __deepcopy__(self, memo: dict[int, Any]) -> Activation:
        return self  # nothing in it ever changes

    def __reduce__(self) -> tuple[Any, ...]:
        given = {
            entry.name: getattr(self, entry.name)
            for entry in fields(self)
            if entry.init and entry.name not in self._generated
        }
        return _remake, (given,)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, eq=False)
class Card:
    """The catalogue entry of an aggregate: a layer that mixes several numbers into one, not a pointwise function.

    Args:
        formula: LaTeX.
        plain: the same as plain text.
        layer: the dotted path of the module class (or the function that builds it).
        functional: the name of the plain function in `hillock.functional`, where there is one.
    """

    name: str
    formula: str
    plain: str
    family: str
    layer: str
    source: Source
    aliases: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    functional: str = ""

    def __post_init__(self) -> None:
        if not self.name.isidentifier() or not self.formula or not self.layer.startswith("hillock.layers."):
            raise DeclarationError("a card with a name, a formula and a layer of hillock", got=repr(self.name))

    def __deepcopy__(self, memo: dict[int, Any]) -> Card:
        return self

    def __str__(self) -> str:
        return self.name


def _remake(given: dict[str, Any]) -> Activation:
    """Unpickle: the catalogue's own object when it says the same, else a new declaration."""
    from hillock.activations.catalogue import catalogue

    known = catalogue().get(given["name"])
    if isinstance(known, Activation) and known.formula == given["formula"]:
        return known
    return Activation(**given)
