"""A plot in the terminal, of braille dots: two columns and four rows of dots a character."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.text import Text

__all__ = ["plot"]

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # bit of the dot in row, column of a character
_BLANK = 0x2800


def plot(
    x: Sequence[float], lines: Sequence[tuple[Sequence[float], str]], *, width: int = 64, height: int = 16
) -> Text:
    """Return lines over a common x as coloured text, with the axes through 0 and numbers at the ends.

    Args:
        x: ascending.
        lines: (values, style of rich) each; a later line is drawn over an earlier one. Values that are not finite, or
            beyond the range shown, leave a gap.
        width, height: of the plot in characters, without the numbers.
    """
    finite = [value for values, _ in lines for value in values if math.isfinite(value)]
    low, high = min(finite, default=-1.0), max(finite, default=1.0)
    if high - low < 1e-9:
        low, high = low - 1, high + 1
    low, high = low - 0.04 * (high - low), high + 0.04 * (high - low)
    cells: list[list[tuple[int, str]]] = [[(0, "")] * width for _ in range(height)]

    def row_of(value: float) -> int:
        return round((high - value) / (high - low) * (4 * height - 1))

    def column_of(place: float) -> int:
        return round((place - x[0]) / (x[-1] - x[0]) * (2 * width - 1))

    def dot(row: int, column: int, style: str) -> None:
        if 0 <= row < 4 * height and 0 <= column < 2 * width:
            old, old_style = cells[row // 4][column // 2]
            bits = old if old_style == style else 0
            cells[row // 4][column // 2] = (bits | _DOTS[row % 4][column % 2], style)

    if low < 0 < high:
        for column in range(2 * width):
            dot(row_of(0.0), column, "dim")
    if x[0] < 0 < x[-1]:
        for row in range(0, 4 * height, 2):
            dot(row, column_of(0.0), "dim")
    for values, style in lines:
        before: int | None = None
        for place, value in zip(x, values, strict=True):
            if not math.isfinite(value) or not low <= value <= high:
                before = None
                continue
            row = row_of(value)
            start = row if before is None or abs(before - row) > 3 * height else before
            for between in range(min(start, row), max(start, row) + 1):
                dot(between, column_of(place), style)
            before = row
    text = Text()
    for index, line in enumerate(cells):
        label = {0: f"{high:8.3g} ", height - 1: f"{low:8.3g} "}.get(index, " " * 9)
        text.append(label, "dim")
        for bits, style in line:
            text.append(chr(_BLANK + bits), style)
        text.append("\n")
    left, right = f"{x[0]:g}", f"{x[-1]:g}"
    return text.append(" " * 9 + left + right.rjust(width - len(left)), "dim")
