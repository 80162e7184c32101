"""The page of one activation's card, or of many."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hillock.report.document import write_page

__all__ = ["activation_page", "describe", "number"]

Facts = Mapping[str, Any]
Curve = tuple[Sequence[float], Sequence[float], Sequence[float]]


def activation_page(cards: Sequence[tuple[Facts, Curve | None, str]], path: Path) -> None:
    """Write one page with a card for each (facts, curve, BibTeX entry); an aggregate has no curve.

    The facts are those of `hillock.activations.facts.facts`. Works offline; the formulas are shown as text.
    """
    figures = {f"curve-{facts['name']}": _figure(curve) for facts, curve, _ in cards if curve is not None}
    shown = [
        {
            "name": facts["name"],
            "lead": _lead(facts),
            "formula": facts["formula"],
            "slope": facts.get("slope"),
            "figure": f"curve-{facts['name']}" if curve is not None else None,
            "rows": describe(facts),
            "remarks": facts["remarks"],
            "source": facts["source"],
            "bibtex": bibtex,
        }
        for facts, curve, bibtex in cards
    ]
    title = cards[0][0]["name"] if len(cards) == 1 else "Activations"
    write_page(path, "activation.html", figures, title=title, cards=shown)


def describe(facts: Facts) -> list[tuple[str, str]]:
    """Return the facts of a card as (label, text), in the order in which they are read."""
    if facts["kind"] == "aggregate":
        rows = [("layer", facts["layer"]), ("options", ", ".join(f"{k}={v}" for k, v in facts["options"].items()))]
        rows.append(("as a function", facts["functional"] or ""))
        return [(label, text) for label, text in rows if text]
    properties, moments = facts["properties"], facts["moments"]
    turning = properties["turning"]
    rows = [
        ("aliases", ", ".join(facts["aliases"])),
        ("parameters", "; ".join(_parameter(parameter) for parameter in facts["parameters"])),
        ("values", f"{number(properties['bounds'][0])} to {number(properties['bounds'][1])}"),
        ("limits", " and ".join(number(limit) for limit in properties["limits"])),
        ("monotone", "yes" if properties["monotone"] else "no"),
        ("turns at", "infinitely many places" if turning is None else ", ".join(number(place) for place in turning)),
        ("symmetry", properties["symmetry"] or "none"),
        ("saturates", {None: "no", "both": "on both sides"}.get(properties["saturating"], properties["saturating"])),
        ("saturated beyond", " and ".join(number(limit) for limit in moments["saturation_limits"])),
        ("kinks", "; ".join(_kink(kink) for kink in properties["kinks"]) or "none"),
        ("gain", f"{moments['gain']:.6g}" + "   (1/sqrt(E[φ(z)²]), z ~ N(0, 1))"),
        ("mean shift", f"{moments['mean']:.6g}" + "   (E[φ(z)])"),
        ("E[φ'(z)²]", f"{moments['slope_second_moment']:.6g}"),
        ("steepest slope", f"{moments['max_slope']:.6g}"),
        ("kept for backward", facts.get("kept_for_backward", "")),
    ]
    return [(label, text) for label, text in rows if text]


def number(value: float) -> str:
    """Return a number as a card shows it; nan is "none" (a limit that does not exist).

    >>> number(float("-inf")), number(0.5), number(float("nan"))
    ('-∞', '0.5', 'none')
    """
    if math.isnan(value):
        return "none"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value + 0.0:.6g}"


def _parameter(parameter: Mapping[str, Any]) -> str:
    low, high = parameter["range"]
    state = "learned, starts at" if parameter["learned"] else "="
    if parameter["drawn"]:
        state = f"drawn from {number(low)} to {number(high)} in training, else"
    decay = "" if parameter["weight_decay"] or not parameter["learned"] else ", no weight decay"
    meaning = f" ({parameter['meaning']})" if parameter["meaning"] else ""
    return f"{parameter['name']} {state} {number(parameter['default'])}{decay}{meaning}"


def _kink(kink: Mapping[str, Any]) -> str:
    side = kink["slope"] if isinstance(kink["slope"], str) else number(kink["slope"])
    what = "jump" if kink["jump"] else "bend"
    return f"{what} at {number(kink['at'])}, slope there: {side}"


def _lead(facts: Facts) -> str:
    kind = "layer" if facts["kind"] == "aggregate" else "function"
    year = f", {facts['year']}" if facts["year"] else ""
    return f"A {kind} of the family “{facts['family']}”{year}."


def _figure(curve: Curve) -> dict[str, Any]:
    x, values, slopes = curve

    def line(y: Sequence[float], name: str, colour: str) -> dict[str, Any]:
        shown = [value if math.isfinite(value) else None for value in y]
        return {
            "type": "scatter",
            "mode": "lines",
            "x": list(x),
            "y": shown,
            "name": name,
            "line": {"color": colour, "width": 2.5},
            "hovertemplate": f"{name}(%{{x:.3g}}) = %{{y:.5g}}<extra></extra>",
        }

    layout = {"xaxis": {"title": {"text": "x"}, "zeroline": True}, "yaxis": {"zeroline": True}}
    return {"data": [line(values, "φ", "--series-1"), line(slopes, "φ'", "--series-2")], "layout": layout}
