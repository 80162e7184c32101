"""The pieces of a declaration: Parameter, Kink, Source, Traits. Each refuses to exist when it makes no sense."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from hillock.errors import DeclarationError, UsageError

__all__ = ["Kink", "Parameter", "Source", "Traits"]

_LATEX_OF_LETTER = {
    "ä": '{\\"a}',
    "ö": '{\\"o}',
    "ü": '{\\"u}',
    "ć": "{\\'c}",
    "š": "{\\v{s}}",
    "é": "{\\'e}",
    "ò": "{\\`o}",
}


@dataclass(frozen=True)
class Parameter:
    """A number that shapes an activation.

    Args:
        name: the keyword under which it is given.
        default: the value of the paper (a learned one starts there; a drawn one has it outside training).
        low, high: the closed range of values that make sense; for a drawn parameter the range of the uniform draw.
        learned: trained with the weights unless `learned=False` is asked for.
        drawn: drawn anew for every element in training, as RReLU does.
        weight_decay: whether the paper lets weight decay act on it while it is learned (PReLU: no).
        meaning: a few words for the card.

    >>> Parameter("negative_slope", 0.01).check(0.2)
    0.2
    """

    name: str
    default: float
    low: float = -math.inf
    high: float = math.inf
    learned: bool = False
    drawn: bool = False
    weight_decay: bool = True
    meaning: str = ""

    def __post_init__(self) -> None:
        if not self.name.isidentifier() or self.name == "x":
            raise DeclarationError("a parameter name that is a Python identifier other than x", got=repr(self.name))
        if not self.low <= self.default <= self.high:
            raise DeclarationError(
                f"a default of {self.name} within [{self.low:g}, {self.high:g}]", got=f"{self.default:g}"
            )
        if self.drawn and (self.learned or not (math.isfinite(self.low) and math.isfinite(self.high))):
            raise DeclarationError(
                f"a finite range for the drawn parameter {self.name}, which cannot be learned as well"
            )

    def check(self, value: object) -> float:
        """Return `value` as a float, or refuse it with the range that makes sense."""
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            number = math.nan
        if not self.low <= number <= self.high:
            raise UsageError(
                f"{self.name} to be a number from {self.low:g} to {self.high:g}",
                got=repr(value),
                instead=f"{self.name}={self.default:g}",
            )
        return number


@dataclass(frozen=True)
class Kink:
    """A place where the slope, or the function itself, jumps; and the slope that is used there.

    Args:
        at: a number, or the name of the parameter that gives the place, with a minus sign in front if need be.
        slope: "left" or "right" (the one-sided slope that is used at the kink), or a number.
        jump: whether the function itself jumps (its value at the kink is what the formula says).

    >>> Kink("-threshold", "right").place({"threshold": 0.5})
    -0.5
    """

    at: float | str
    slope: float | str
    jump: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.at, str) and not self.at.removeprefix("-").isidentifier():
            raise DeclarationError("a kink at a number, at 'parameter' or at '-parameter'", got=repr(self.at))
        if isinstance(self.slope, str) and self.slope not in {"left", "right"}:
            raise DeclarationError("a slope at the kink that is 'left', 'right' or a number", got=repr(self.slope))

    def place(self, constants: dict[str, float]) -> float:
        """Return where the kink is, given a value for every parameter."""
        if not isinstance(self.at, str):
            return float(self.at)
        sign = -1.0 if self.at.startswith("-") else 1.0
        return sign * constants[self.at.removeprefix("-")]


@dataclass(frozen=True)
class Source:
    """A paper, book or program, given once in `sources.py`.

    Args:
        authors: "Family, Given" each, in the order of the paper.
        identifier: "arXiv:1908.08681", "doi:10.1038/35016072", or an address.

    >>> Source(("Misra, Diganta",), 2019, "Mish", "BMVC", "arXiv:1908.08681").key
    'misra2019mish'
    """

    authors: tuple[str, ...]
    year: int
    title: str
    venue: str = ""
    identifier: str = ""

    def __post_init__(self) -> None:
        if not self.authors or not self.title or not 1600 <= self.year <= 2100:
            raise DeclarationError("a source with authors, a title and a year", got=repr(self.title))

    @property
    def key(self) -> str:
        """The BibTeX key: family name, year, first word of the title."""
        family = self.authors[0].partition(",")[0]
        word: str = re.findall(r"[a-z0-9]+", self.title.lower())[0]
        return re.sub(r"[^a-z0-9]", "", family.lower()) + str(self.year) + word

    @property
    def text(self) -> str:
        """The reference as one line of plain text."""
        families = [author.partition(",")[0] for author in self.authors]
        names = families[0] if len(families) == 1 else ", ".join(families[:-1]) + " & " + families[-1]
        parts = [f"{names} ({self.year}). {self.title}.", f"{self.venue}." if self.venue else "", self.identifier]
        return " ".join(part for part in parts if part)

    def bibtex(self) -> str:
        """Return the BibTeX entry, with letters beyond ASCII written as LaTeX commands."""
        fields = {"author": " and ".join(self.authors), "title": "{" + self.title + "}", "year": str(self.year)}
        if self.venue:
            fields["howpublished"] = self.venue
        scheme, _, rest = self.identifier.partition(":")
        if scheme == "arXiv":
            fields |= {"eprint": rest, "archiveprefix": "arXiv"}
        elif scheme == "doi":
            fields["doi"] = rest
        elif self.identifier:
            fields["url"] = self.identifier
        body = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items())
        entry = f"@misc{{{self.key},\n{body}\n}}"
        return "".join(_LATEX_OF_LETTER.get(letter, letter) for letter in entry)


@dataclass(frozen=True)
class Traits:
    """What a function does at its ends and between them, declared at the default parameters and tested.

    Args:
        limits: φ(-∞), φ(+∞); nan where there is none (sine).
        slope_limits: φ'(-∞), φ'(+∞).
        bounds: the infimum and supremum of φ.
        turning: where φ' changes its sign, ascending; None when there are infinitely many such places.
        symmetry: "odd", "even" or None.
    """

    limits: tuple[float, float]
    slope_limits: tuple[float, float]
    bounds: tuple[float, float]
    turning: tuple[float, ...] | None = ()
    symmetry: str | None = None

    def __post_init__(self) -> None:
        if self.symmetry not in {None, "odd", "even"}:
            raise DeclarationError("a symmetry that is 'odd', 'even' or None", got=repr(self.symmetry))
        if not self.bounds[0] <= self.bounds[1]:
            raise DeclarationError("bounds in ascending order", got=repr(self.bounds))
        if self.turning is not None and list(self.turning) != sorted(self.turning):
            raise DeclarationError("turning points in ascending order", got=repr(self.turning))

    @property
    def monotone(self) -> bool:
        """Whether φ never changes direction."""
        return self.turning == ()

    @property
    def saturating(self) -> str | None:
        """ "both", "left" or "right": the ends at which φ' goes to zero; None when neither does."""
        left, right = (limit == 0.0 for limit in self.slope_limits)
        return {(True, True): "both", (True, False): "left", (False, True): "right"}.get((left, right))

    @property
    def zero_centred(self) -> bool:
        """Whether φ takes values on both sides of zero that reach equally far (an odd function)."""
        return self.symmetry == "odd"
