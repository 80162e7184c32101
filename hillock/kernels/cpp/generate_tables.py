"""Generate the tables of the float32 path (AVX512, `faithful`). Run offline; the result is in the repository.

    python -m hillock.kernels.cpp.generate_tables            # writes generated/tables.h beside this file

An error stated there is a maximum over the intervals, measured on a fine grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import mpmath
from mpmath import mpf

from hillock.kernels.cpp.fitting import GENERATED, Function, chebyshev_fit, rounded_in_turn, single
from hillock.kernels.cpp.formulas import (
    gelu_slope,
    gelu_tanh_gate,
    gelu_tanh_slope,
    mish_gate,
    mish_slope,
    normal_tail,
    sigmoid,
    silu_slope,
)

# A table describes a function G on 32 intervals. On interval i, with r = t - c (exact, because c has few bits):
#     G = A + A' + r (B + B' + r (Q0 + Q1 r + ...))
# A and B are float32, A' and B' their remainders. Then the only rounding errors that count are the last one and, scaled
# by |G - A|/|G|, that of G - A. B' is kept only where G has a root, or on request. Where 1 - G is formed too, A is a
# multiple of 2^-24 (2^-23 where 1 - A is above 1), so that 1 - A is exact. Where neither holds, the centre is moved a
# little to where G(c) is a float32 to 31 bits (Gal's accurate tables), which saves the row of A'.
# For bfloat16 there is a brief form of each table: no remainders, and fewer terms.
INTERVALS = 32
FIT_BITS = 28.0
BRIEF_BITS = 19.5  # of bfloat16 results, which have 8, about one in 4000 then is the second nearest
RANGE_MARGIN = mpf(2) ** -18  # the interval index is rounded: neighbours overlap by this much, relative to the range


@dataclass(frozen=True)
class Table:
    """G(t) on [low, high]. index: which interval t belongs to, as float32 arithmetic finds it.

    linear: round(t · scale + offset); quadratic: round(t (1 + t · bend) · scale + offset), whose intervals narrow with
    t, for functions that decay like exp(-t²/2).
    """

    name: str
    function: Function
    low: float
    high: float
    bend: float = 0.0
    root: float | None = None
    """Where G is 0 inside the range: the float32 nearest to it is the centre of the two intervals beside it."""
    complement: bool = False
    """Whether 1 - G is formed too."""
    careful: bool = False
    """Whether B' is kept; it is in any case where G has a root."""
    shift: float = 0.0
    """How far left of that edge the root lies, in intervals: where one side of the root is the more delicate."""
    one_from: float | None = None
    """From where on 1 - G(t) (or G itself, on a table of both signs) is 1 to the last bit."""
    pinned: tuple[float, ...] = ()
    """Where a centre must be (0 where the sign of a zero must survive)."""
    brief: bool = False
    """Whether this is the form for bfloat16."""

    @property
    def keeps_remainder(self) -> bool:
        """Whether A' is kept."""
        return not self.brief and (self.root is not None or self.complement or self.value_at_pin_is_rounded)

    @property
    def value_at_pin_is_rounded(self) -> bool:
        """Whether a pinned centre, which cannot be moved, has a value that is no float32."""
        values = [self.function(mpf(pin)) for pin in self.pinned]
        return any(abs(value - mpf(single(value))) > abs(value) * mpf(2) ** -40 for value in values)

    @property
    def keeps_slope_remainder(self) -> bool:
        return not self.brief and (self.careful or self.root is not None)


def _index(table: Table) -> tuple[mpf, mpf, mpf]:
    """Return bend, scale and offset of the interval index (before rounding to float32)."""
    first = mpf(-0.5) if table.low != 0 else mpf(0)
    # An interval is lost where 0 must fall in the middle of one.
    spare = mpf(1.01) if table.low != 0 else mpf(0.01)
    available = INTERVALS - mpf(0.5) - first - spare
    bend, low, high = mpf(table.bend), mpf(table.low), mpf(table.high)
    scale = available / (high * (1 + bend * high) - low)
    if table.root is not None:  # the root goes to an edge
        root = mpmath.findroot(table.function, mpf(table.root))
        place = abs(root) * (1 + bend * root) * scale
        edge = mpmath.nint(place - mpf(0.5)) + mpf(0.5)
        if table.bend:  # bend and scale such that the range is used and the root is at the edge
            ratio = edge / available
            bend = (root - ratio * high) / (ratio * high * high - root * root)
            bend = mpf(single(bend))
            scale = edge / (root * (1 + bend * root))
        else:
            scale = (edge + mpf(table.shift)) / abs(root)
    offset = mpmath.ceil(first - low * scale) if table.low != 0 else mpf(0)
    return bend, mpf(single(scale)), offset


def _boundaries(table: Table) -> list[mpf]:
    """Return the 33 edges of the intervals: interval i is where the index rounds to i."""
    bend, scale, offset = _index(table)
    edges = []
    for i in range(INTERVALS + 1):
        target = (i - mpf(0.5) - offset) / scale
        if bend:
            edges.append((mpmath.sqrt(1 + 4 * bend * max(target, mpf(0))) - 1) / (2 * bend))
        else:
            edges.append(target)
    return edges


def _beside_root(table: Table, low: mpf, high: mpf) -> bool:
    """Whether [low, high] is one of the two intervals at the edge that belongs to the root."""
    if table.root is None:
        return False
    slack = (high - low) / 100
    edge = mpmath.findroot(table.function, mpf(table.root)) + mpf(table.shift) / _index(table)[1]
    return bool(low - slack <= edge <= high + slack)


def _centre(table: Table, low: mpf, high: mpf) -> float:
    """Return the centre of the interval [low, high]: pinned, at a root, or near the middle and with few bits."""
    for pinned in table.pinned:
        if low <= pinned <= high:
            return pinned
    if _beside_root(table, low, high):
        return single(mpmath.findroot(table.function, mpf(table.root)))
    if table.keeps_remainder or table.brief:
        return float(mpmath.nint((low + high) / 2 * 2**12) / 2**12)
    # Outwards from the middle: the first centre whose value is nearly a float32.
    middle = mpmath.nint((low + high) / 2 * 2**18)
    for step in range(4096):
        for place in ((middle + step) / 2**18, (middle - step) / 2**18):
            value = table.function(place)
            if abs(value - mpf(single(value))) <= abs(value) * mpf(2) ** -31:
                return float(place)
    raise AssertionError(f"{table.name} has no good centre near {float(middle) / 2**18}")


def _high_part(table: Table, value: mpf) -> mpf:
    """Return A: the float32 nearest to G(c), on the grid where 1 - A is exact if that is formed."""
    grid = mpf(2) ** (24 if value >= 0 else 23)  # the spacing of float32 below and above 1
    return mpf(mpmath.nint(value * grid) / grid) if table.complement and not table.brief else mpf(single(value))


def _fit(table: Table, edges: Sequence[mpf], centres: Sequence[float], terms: int) -> tuple[list[list[float]], float]:
    """Return the 32 columns (c, A, A' where kept, B, B' where kept, Q0 ...) and log2 of the fit's largest error."""
    columns, worst = [], mpf(0)
    margin = RANGE_MARGIN * (edges[-1] - edges[0])
    for i, centre in enumerate(centres):
        c = mpf(centre)
        low, high = edges[i] - margin - c, edges[i + 1] + margin - c
        if table.low == 0 and i == 0:
            low = -high  # fitted to both sides of 0, used on one
        value, slope = table.function(c), mpmath.diff(table.function, c)
        at_root = not table.brief and _beside_root(table, edges[i], edges[i + 1])
        high_part = 0.0 if at_root else float(_high_part(table, value))

        def rest(r: mpf, c: mpf = c, value: mpf = value, slope: mpf = slope) -> mpf:
            if abs(r) < mpf(10) ** -12:
                return mpmath.diff(table.function, c, 2) / 2
            return (table.function(c + r) - value - slope * r) / (r * r)

        def weight(r: mpf, c: mpf = c) -> mpf:
            return r / table.function(c + r) if abs(r) > mpf(10) ** -6 else mpf(0)

        exact = [slope, *chebyshev_fit(rest, low, high, terms - 1)]
        if table.keeps_slope_remainder:
            slope_low = single(slope - mpf(single(slope)))
            others = rounded_in_turn(exact[1:], low, high, lambda r: r * weight(r))
            coefficients = [single(slope), slope_low, *others]
            used = [mpf(single(slope)) + mpf(slope_low), *others]
        else:
            coefficients = used = rounded_in_turn(exact, low, high, weight)
        remainder = single(value - mpf(high_part)) if table.keeps_remainder else 0.0
        columns.append([centre, high_part, *([remainder] if table.keeps_remainder else []), *coefficients])
        known = mpf(high_part) + mpf(remainder)
        for j in range(33):
            r = low + (high - low) * j / 32
            wanted = table.function(c + r)
            near_root = abs(wanted) < mpf(2) ** -20 and _beside_root(table, edges[i], edges[i + 1])
            if wanted != 0 and not near_root:
                fitted = known + r * mpmath.polyval([mpf(x) for x in used[::-1]], r)
                worst = max(worst, abs(fitted / wanted - 1))
    return columns, float(mpmath.log(worst, 2)) if worst else -200.0


def _share(table: Table, edges: Sequence[mpf], columns: Sequence[Sequence[float]], i: int) -> float:
    """Return the largest |G - A|/|G| on interval i; 0 where A is 0 (at a root)."""
    if columns[i][1] == 0.0:
        return 0.0
    values = [table.function(edges[i]), table.function(edges[i + 1])]
    return float(max(abs((value - columns[i][1]) / value) for value in values))


def table_text(table: Table) -> str:
    edges = _boundaries(table)
    bend, scale, offset = _index(table)
    low, high = max(mpf(table.low), edges[0]), min(mpf(table.high), edges[-1])
    centres = [_centre(table, edges[i], edges[i + 1]) for i in range(INTERVALS)]
    # The fewest terms that are accurate enough, or as good as any: the rounding of coefficients limits some tables.
    fits = {terms: _fit(table, edges, centres, terms) for terms in (range(1, 7) if table.brief else range(3, 9))}
    enough = max(-BRIEF_BITS if table.brief else -FIT_BITS, min(error for _, error in fits.values()) + 0.4)
    terms = min(terms for terms, (_, error) in fits.items() if error <= enough)
    columns, error = fits[terms]
    share = max(_share(table, edges, columns, i) for i in range(INTERVALS))
    magic = 1.5 * 2**23 + float(offset)
    widest = max(float(edges[i + 1] - edges[i]) for i in range(INTERVALS))
    text = f"// {table.name}: intervals up to {widest:.3f} wide, fit error 2^{error:.1f}, |G-A|/|G| <= {share:.2f}\n"
    text += f"struct {table.name} {{\n"
    text += f"  using Brief = {table.name.removesuffix('_brief')}_brief;\n"
    text += f"  static constexpr float scale = {float(scale).hex()}f, magic = {magic.hex()}f;\n"
    text += f"  static constexpr float bend = {single(bend).hex()}f;\n"
    inside = 1 - mpf(2) ** -16
    text += f"  static constexpr float low = {single(low * inside).hex()}f, high = {single(high * inside).hex()}f;\n"
    if table.one_from is not None:
        text += f"  static constexpr float one_from = {single(mpf(table.one_from)).hex()}f;\n"
    text += f"  static constexpr int terms = {terms};  // Q0 ...\n"
    text += f"  static constexpr bool remainder = {str(table.keeps_remainder).lower()};  // A'\n"
    text += f"  static constexpr bool slope_remainder = {str(table.keeps_slope_remainder).lower()};  // B'\n"
    text += f"  alignas(64) static constexpr float rows[{len(columns[0])}][32] = {{\n"
    for row in range(len(columns[0])):
        values = [f"{column[row].hex()}f" for column in columns]
        text += "      {" + ",\n       ".join(", ".join(values[k : k + 4]) for k in range(0, 32, 4)) + "},\n"
    return text + "  };\n};\n\n"


def over(function: Function, limit: float) -> Function:
    """Return f(x)/x, with its limit at 0."""
    return lambda x: function(x) / x if x else mpf(limit)


SELU_SCALE = mpf("1.0507009873554804934193349852946")
SELU_LEFT = SELU_SCALE * mpf("1.6732632423543772848170429916717")
GELU_SIGMOID = mpf("1.702")


TABLES = (
    Table("sigmoid_tail", lambda a: sigmoid(-a), 0.0, 8.0, complement=True, pinned=(0.0,)),
    Table("sigmoid_slope", lambda a: sigmoid(a) * sigmoid(-a), 0.0, 8.0, pinned=(0.0,)),
    Table("silu_slope_tail", lambda a: silu_slope(-a), 0.0, 8.0, complement=True, pinned=(0.0,), root=1.278),
    Table("tanh_over_x", over(mpmath.tanh, 1.0), 0.0, 9.25, pinned=(0.0,)),
    Table("tanh_slope", lambda a: mpmath.sech(a) ** 2, 0.0, 7.0, pinned=(0.0,)),
    Table("gelu_tail", normal_tail, 0.0, 5.125, bend=0.55, careful=True, one_from=5.5, complement=True, pinned=(0.0,)),
    Table("gelu_slope_tail", lambda a: gelu_slope(-a), 0.0, 5.0, bend=0.3, one_from=6.25, complement=True,
          pinned=(0.0,), root=0.7518),
    Table("gelu_tanh_tail", lambda a: gelu_tanh_gate(-a), 0.0, 4.75, bend=0.6, careful=True, one_from=5.25,
          complement=True, pinned=(0.0,)),
    Table(
        "gelu_tanh_slope_tail", lambda a: gelu_tanh_slope(-a), 0.0, 5.25, bend=0.3, one_from=5.75, complement=True,
        pinned=(0.0,), root=0.7524,
    ),
    Table("gelu_sigmoid_tail", lambda a: sigmoid(-GELU_SIGMOID * a), 0.0, 5.0, complement=True, pinned=(0.0,)),
    Table(
        "gelu_sigmoid_slope_tail", lambda a: silu_slope(-GELU_SIGMOID * a), 0.0, 5.0, complement=True, pinned=(0.0,),
        root=0.7511,
    ),
    Table("mish_gate", mish_gate, -7.0, 7.0, careful=True, one_from=9.125, pinned=(0.0,)),
    Table("mish_slope", mish_slope, -5.2, 4.9, one_from=11.0, root=-1.1924, shift=0.25),
    Table("softplus", lambda x: mpmath.log1p(mpmath.exp(x)), -8.0, 8.0, careful=True),
    Table("elu_over_x", over(mpmath.expm1, 1.0), -17.5, 0.25, pinned=(0.0,)),
    Table("exponential_left", mpmath.exp, -8.0, 0.125, pinned=(0.0,)),
    Table("selu_over_x", over(lambda x: SELU_LEFT * mpmath.expm1(x), SELU_LEFT), -17.5, 0.25,
          pinned=(0.0,)),
    Table("selu_slope", lambda x: SELU_LEFT * mpmath.exp(x), -8.0, 0.125),
    Table("su_slope", lambda x: (1 + x) * mpmath.exp(x), -8.0, 0.125, root=-1.0, pinned=(0.0,)),
)  # fmt: skip


def tables() -> str:
    text = "// Generated by generate_tables.py: do not edit. Errors of the fits are relative, as a power of two.\n"
    text += "#pragma once\n\nnamespace hillock::tables {\n\n"
    both = [form for table in TABLES for form in (replace(table, name=f"{table.name}_brief", brief=True), table)]
    return text + "".join(table_text(table) for table in both) + "}  // namespace hillock::tables\n"


if __name__ == "__main__":
    (GENERATED / "tables.h").write_text(tables())
