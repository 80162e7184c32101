"""Figures as plain plotly specifications. Colours are names of the page's style (see `document.py`)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hillock.report import wording

if TYPE_CHECKING:
    from hillock.comparison import Comparison, Curve

__all__ = ["curves_figure", "differences_figure", "line_figure", "series_colours"]

Figure = dict[str, Any]

# After eight arms the colours come again with another dash.
_COLOURS = 8
# An arm whose differences are this many times those of the middle arm is off the scale of the differences figure.
_OFF_SCALE = 12.0
_DASHES = ("solid", "dash", "dot", "dashdot")


def series_colours(comparison: Comparison) -> dict[str, str]:
    """Return each arm's colour: grey for the reference, the others in the order of the study."""
    others = [arm.name for arm in comparison.study.arms if arm.name != comparison.study.reference]
    colours = {name: f"--series-{index % _COLOURS + 1}" for index, name in enumerate(others)}
    return {comparison.study.reference: "--series-0", **colours}


def curves_figure(comparison: Comparison, quantity: str) -> Figure:
    """Return how a quantity went over the epochs: the mean over seeds as a line, all seeds as a band."""
    colours = series_colours(comparison)
    factor = 100.0 if wording.is_share(quantity) else 1.0
    data: list[Figure] = []
    smallest, largest = math.inf, 0.0
    for index, (name, curve) in enumerate(comparison.curves(quantity).items()):
        low, middle, high = _band(curve, factor)
        smallest = min([smallest, *(value for value in low if value is not None)])
        largest = max([largest, *(value for value in high if value is not None)])
        epochs = list(curve.epochs)
        group = {"legendgroup": name, "hoverinfo": "skip", "mode": "lines", "line": {"width": 0}, "showlegend": False}
        data.append({"type": "scatter", "x": epochs, "y": low, **group})
        fill = {"fill": "tonexty", "fillcolor": f"{colours[name]}/0.1"}
        data.append({"type": "scatter", "x": epochs, "y": high, **group, **fill})
        line = {"color": colours[name], "width": 2.5, "dash": _DASHES[index // (_COLOURS + 1) % len(_DASHES)]}
        unit = " %" if factor == 100.0 else ""
        hover = f"{name}<br>epoch %{{x:g}}: %{{y:.3g}}{unit}<extra></extra>"
        data.append(
            {"type": "scatter", "x": epochs, "y": middle, "name": name, "legendgroup": name, "mode": "lines+markers"}
            | {"line": line, "marker": {"size": 4, "color": colours[name]}, "hovertemplate": hover}
        )
    title = wording.metric_name(quantity) + (" (%)" if factor == 100.0 else "")
    layout = {"xaxis": {"title": {"text": "epoch"}, "tickformat": "d"}, "yaxis": _value_axis(title, smallest, largest)}
    return {"data": data, "layout": layout}


def _value_axis(title: str, smallest: float, largest: float) -> Figure:
    """Return a logarithmic axis, on which late differences can be seen; linear where a value is 0."""
    if not 0 < smallest < math.inf:
        return {"title": {"text": title}, "rangemode": "tozero"}
    decades = range(math.floor(math.log10(smallest)), math.ceil(math.log10(largest)) + 1)
    ticks = [digit * 10.0**decade for decade in decades for digit in (1, 2, 5)]
    if len(decades) > 3:
        ticks = [10.0**decade for decade in decades]
    axis = {"title": {"text": f"{title}, log scale"}, "type": "log"}
    return {**axis, "tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}


def _band(curve: Curve, factor: float) -> tuple[list[float | None], list[float | None], list[float | None]]:
    """Return smallest, mean and largest over the seeds for each epoch; None where no seed has a value."""
    low: list[float | None] = []
    middle: list[float | None] = []
    high: list[float | None] = []
    for column in zip(*curve.values, strict=True):
        values = [factor * value for value in column if math.isfinite(value)]
        low.append(min(values) if values else None)
        middle.append(sum(values) / len(values) if values else None)
        high.append(max(values) if values else None)
    return low, middle, high


def differences_figure(comparison: Comparison) -> Figure:
    """Return each seed's difference from the reference as a dot, the mean with its interval, the ROPE as a band."""
    study = comparison.study
    factor = 100.0 if wording.is_share(study.metric) else 1.0
    unit = " points" if factor == 100.0 else ""
    arms = sorted((arm for arm in comparison.arms if arm.verdict != "reference"), key=lambda arm: -arm.difference)
    limit = _scale_limit([arm.differences for arm in arms])
    data: list[Figure] = []
    beyond: list[Figure] = []
    for row, arm in enumerate(arms):
        if max(map(abs, arm.differences)) > limit:
            beyond.append(_beyond_scale(arm.difference * factor, row, unit))
            continue
        colour = f"--{arm.verdict}"
        # Seeds are spread a little over the row, always in the same order, so that equal values stay visible.
        spread = [row + 0.22 * (2 * (i + 0.5) / len(study.seeds) - 1) for i in range(len(study.seeds))]
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [factor * value for value in arm.differences],
                "y": spread,
                "text": [f"{arm.name}, seed {seed}" for seed in study.seeds],
                "hovertemplate": f"%{{text}}: %{{x:+.2f}}{unit}<extra></extra>",
                "marker": {"size": 7, "color": "rgba(0,0,0,0)", "line": {"color": f"{colour}/0.65", "width": 1.3}},
                "showlegend": False,
            }
        )
        data.append(_interval_marker(arm.name, row, factor, arm.difference, arm.interval, colour, unit))
    title = f"{wording.metric_name(study.metric)} minus {study.reference}'s" + (", in points" if unit else "")
    rope = factor * study.rope
    layout = {
        "xaxis": {"title": {"text": title}, "zeroline": True, "zerolinewidth": 1.5, "zerolinecolor": "--soft"},
        "yaxis": {
            "tickvals": list(range(len(arms))),
            "ticktext": [arm.name for arm in arms],
            "range": [-0.6, len(arms) - 0.4],
            "showgrid": False,
        },
        "shapes": [
            {"type": "rect", "xref": "x", "yref": "paper", "x0": -rope, "x1": rope, "y0": 0, "y1": 1}
            | {"fillcolor": "--series-0/0.16", "line": {"width": 0}, "layer": "below"}
        ],
        "annotations": beyond,
    }
    return {"data": data, "layout": layout}


def _scale_limit(differences: Sequence[Sequence[float]]) -> float:
    """Return the largest difference to draw: an arm that fails must not squeeze all others into one dot."""
    extents = sorted(max(map(abs, values)) for values in differences)
    usual = extents[(len(extents) - 1) // 2]
    return _OFF_SCALE * usual if usual > 0 else math.inf


def _beyond_scale(mean: float, row: int, unit: str) -> Figure:
    """Return the note that stands for an arm off the scale."""
    left = mean < 0
    text = f"← {mean:+.1f}{unit}" if left else f"{mean:+.1f}{unit} →"
    place: Figure = {"x": 0 if left else 1, "xref": "paper", "xanchor": "left" if left else "right", "y": row}
    return {**place, "yref": "y", "text": text, "showarrow": False}


def _interval_marker(
    name: str, row: int, factor: float, mean: float, interval: Sequence[float], colour: str, unit: str
) -> Figure:
    low, high = (factor * bound for bound in interval)
    marker: Figure = {
        "type": "scatter",
        "mode": "markers",
        "x": [factor * mean],
        "y": [row],
        "marker": {"size": 12, "symbol": "diamond", "color": colour},
        "hovertemplate": f"{name}, mean: %{{x:+.2f}}{unit}<extra></extra>",
        "showlegend": False,
    }
    if math.isfinite(low):
        bars = {
            "type": "data",
            "symmetric": False,
            "array": [high - factor * mean],
            "arrayminus": [factor * mean - low],
        }
        marker["error_x"] = {**bars, "color": colour, "thickness": 3, "width": 0}
        marker["hovertemplate"] = f"{name}, mean: %{{x:+.2f}}{unit}<br>{low:+.2f} to {high:+.2f}<extra></extra>"
    return marker


def line_figure(
    lines: Mapping[str, tuple[Sequence[Any], Sequence[float | None]]],
    *,
    x_title: str,
    y_title: str,
    log: bool = False,
    dashed: Sequence[str] = (),
    hidden_ticks: bool = False,
) -> Figure:
    """Return named lines (x values, y values; None and NaN are gaps) in one figure.

    `dashed` names the lines to draw dashed, such as predictions.
    """
    data: list[Figure] = []
    for index, (name, (x, y)) in enumerate(lines.items()):
        kept = [None if value is None or not math.isfinite(value) else value for value in y]
        line = {"color": f"--series-{(index + 1) % (_COLOURS + 1)}", "width": 2.5, "dash": "solid"}
        if name in dashed:
            line |= {"color": "--series-0", "dash": "dash"}
        data.append({"type": "scatter", "mode": "lines+markers", "x": list(x), "y": kept, "name": name, "line": line})
        data[-1]["marker"] = {"size": 5, "color": line["color"]}
    x_axis: Figure = {"title": {"text": x_title}}
    if hidden_ticks:
        x_axis["showticklabels"] = False
    y_axis: Figure = {"title": {"text": y_title}, **({"type": "log", "exponentformat": "power"} if log else {})}
    return {"data": data, "layout": {"xaxis": x_axis, "yaxis": y_axis, "showlegend": len(lines) > 1}}
