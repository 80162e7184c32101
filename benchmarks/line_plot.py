"""Line plots as plain SVG, for the figures in docs/: no dependency, readable on light and dark pages."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Line", "line_plot"]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe & Ito's palette
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 860, 460, 80, 250, 40, 50


@dataclass(frozen=True)
class Line:
    """A labelled line through points; dashed lines take the colour of the solid line before them."""

    label: str
    points: Sequence[tuple[float, float]]
    dashed: bool = False


def line_plot(
    lines: Sequence[Line], x_label: str, y_label: str, title: str, *, log_x: bool = False, log_y: bool = False
) -> str:
    """Return an SVG document."""
    x_ticks = _ticks([x for line in lines for x, _ in line.points], log_x)
    y_ticks = _ticks([y for line in lines for _, y in line.points], log_y)

    def place(x: float, y: float) -> tuple[float, float]:
        across = _share(x, x_ticks, log_x) * (WIDTH - LEFT - RIGHT)
        return LEFT + across, HEIGHT - BOTTOM - _share(y, y_ticks, log_y) * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"',
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-size="15">{html.escape(title)}</text>',
    ]
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    for tick in x_ticks:
        x, _ = place(tick, y_ticks[0])
        parts.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}" stroke="#ddd"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{_number(tick)}</text>')
    for tick in y_ticks:
        _, y = place(x_ticks[0], tick)
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_number(tick)}</text>')
    colour = -1
    for index, line in enumerate(lines):
        colour += not line.dashed
        stroke = COLOURS[colour % len(COLOURS)]
        dash = ' stroke-dasharray="6 4"' if line.dashed else ""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in line.points))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{stroke}" stroke-width="2"{dash}/>')
        if len(line.points) <= 12:
            parts += [
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{stroke}"/>'
                for x, y in (place(*p) for p in line.points)
            ]
        y = TOP + 10 + 20 * index
        parts.append(
            f'<line x1="{right + 12}" y1="{y}" x2="{right + 40}" y2="{y}" stroke="{stroke}" stroke-width="2"{dash}/>'
        )
        parts.append(f'<text x="{right + 46}" y="{y + 4}">{html.escape(line.label)}</text>')
    parts.append(f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 12}" text-anchor="middle">{html.escape(x_label)}</text>')
    middle = (TOP + bottom) / 2
    parts.append(
        f'<text x="18" y="{middle}" transform="rotate(-90 18 {middle})" text-anchor="middle">'
        f"{html.escape(y_label)}</text>"
    )
    return "\n".join([*parts, "</svg>\n"])


def _ticks(values: Sequence[float], logarithmic: bool) -> list[float]:
    if logarithmic:
        low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        return [10.0**power for power in range(low, high + 1)]
    step = 10.0 ** math.floor(math.log10(max(values)))
    step = next(step * factor for factor in (0.1, 0.2, 0.5, 1, 2) if max(values) / (step * factor) <= 7)
    return [step * index for index in range(math.ceil(max(values) / step) + 1)]


def _share(value: float, ticks: Sequence[float], logarithmic: bool) -> float:
    if logarithmic:
        return math.log(value / ticks[0]) / math.log(ticks[-1] / ticks[0])
    return (value - ticks[0]) / (ticks[-1] - ticks[0])


def _number(value: float) -> str:
    if value >= 1e4 and math.log10(value) % 1 == 0:
        return f"10^{round(math.log10(value))}"
    return f"{value:,.10g}"
