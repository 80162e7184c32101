"""Functions of float64 blocks that Triton lacks, and roundings. Import only where Triton is.

They are written in Triton's own operations, not libdevice's, so that the interpreter runs the same code as the chip.
"""

from __future__ import annotations

import triton
import triton.language as tl

__all__ = ["atan", "bfloat16_bits", "erfc", "expm1", "hypot", "log1p", "narrowed", "rounded", "sign", "tanh"]


@triton.jit
def expm1(x):  # type: ignore[no-untyped-def]
    """e^x - 1: the series for |x| < 1/2 (cut below 2^-60), the difference beyond."""
    small = tl.where(tl.abs(x) < 0.5, x, 0.0)
    series = small * 0.0 + 1.0
    for step in tl.static_range(14):
        series = 1.0 + series * small / (15 - step)
    return tl.where(tl.abs(x) < 0.5, small * series, tl.exp(x) - 1.0)


@triton.jit
def log1p(x):  # type: ignore[no-untyped-def]
    """log(1 + x) for x >= 0: log(u)·x/(u - 1) with u = 1 + x rounded (Kahan); the two errors of u cancel."""
    u = 1.0 + x
    is_lost = (u == 1.0) | (u == float("inf"))
    return tl.where(is_lost, x, tl.log(u) * (x / tl.where(is_lost, 1.0, u - 1.0)))


@triton.jit
def sign(x):  # type: ignore[no-untyped-def]
    """-1, 0 or 1; NaN stays."""
    return tl.where(x > 0, 1.0, tl.where(x < 0, -1.0, x))


@triton.jit
def tanh(x):  # type: ignore[no-untyped-def]
    """-e/(e + 2) with e = expm1(-2|x|), and the sign of x; near 0 the sign of a zero comes from x itself."""
    e = expm1(-2.0 * tl.abs(x))
    size = -e / (e + 2.0)
    return tl.where(x == 0, x, tl.where(x < 0, -size, size))


@triton.jit
def atan(x):  # type: ignore[no-untyped-def]
    """Three halvings of the angle, atan(x) = 2 atan(x/(1 + √(1 + x²))), then the series up to y^23 (y < 0.2)."""
    bounded = tl.where(x > 1e15, 1e15, tl.where(x < -1e15, -1e15, x))
    y = bounded
    for _ in tl.static_range(3):
        y = y / (1.0 + tl.sqrt(1.0 + y * y))
    square = y * y
    series = square * 0.0 + 1.0 / 23.0
    for step in tl.static_range(11):
        series = 1.0 / (21 - 2 * step) - square * series
    return tl.where(x == 0, x, 8.0 * y * series)


@triton.jit
def erfc(x):  # type: ignore[no-untyped-def]
    """exp(-a²)·erfcx(a) with a = |x|, reflected for x < 0.

    erfcx is an integral over exp(-t²)·a/(a² + t²) by the trapezoidal rule with step h, whose error exp(-(π/h)²) is
    1e-17 for h = 1/2 once the term of the pole at t = ia is added; 12 nodes are enough (Matta and Reichel, Math. Comp.
    1971).
    """
    a = tl.abs(x)
    a = tl.where(a > 30.0, 30.0, a)  # exp(-900) is 0 in float64
    square = a * a
    total = square * 0.0
    for n in tl.static_range(1, 13):
        node = (n * 0.5) * (n * 0.5)
        total += tl.exp(square * 0.0 - node) / (square + node)
    # (h a/π)·(1/a² + 2Σ exp(-n²h²)/(a² + n²h²)), and the pole at ia adds 2/(1 - exp(2πa/h)) while a < π/h
    is_tiny = a < 1e-3
    safe = tl.where(is_tiny, 1.0, a)
    quotient = (1.0 / safe + 2.0 * safe * total) * 0.15915494309189535  # h/π
    decay = tl.exp(safe * -12.566370614359172)  # exp(-2πa/h)
    pole = 2.0 * decay / (1.0 - decay)
    scaled = quotient * tl.exp(-square) - tl.where(a < 6.0, pole, 0.0)
    near = 1.0 - 1.1283791670955126 * a * (1.0 - square / 3.0 + square * square / 10.0)
    positive = tl.where(is_tiny, near, scaled)
    return tl.where(x < 0, 2.0 - positive, tl.where(x != x, x, positive))


@triton.jit
def hypot(x, y):  # type: ignore[no-untyped-def]
    """√(x² + y²) without overflow: the larger times √(1 + (smaller/larger)²)."""
    large = tl.where(tl.abs(x) > tl.abs(y), tl.abs(x), tl.abs(y))
    small = tl.where(tl.abs(x) > tl.abs(y), tl.abs(y), tl.abs(x))
    ratio = small / tl.where((large == 0) | (large == float("inf")), 1.0, large)
    return tl.where(large == float("inf"), large, large * tl.sqrt(1.0 + ratio * ratio))


@triton.jit
def bfloat16_bits(x):  # type: ignore[no-untyped-def]
    """The 16 bits of float32 rounded to bfloat16, to nearest and ties to even, as an integer from 0 to 65,535.

    By hand, because the interpreter's own cast cuts off.
    """
    bits = x.to(tl.int32, bitcast=True)
    high = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return tl.where(x == x, high, 0x7FC0) & 0xFFFF


@triton.jit  # type: ignore[untyped-decorator]
def narrowed(x, dtype: tl.constexpr):  # type: ignore[no-untyped-def]
    """float32 to `dtype`, which has no more bits, in one rounding."""
    return bfloat16_bits(x).to(tl.int16).to(tl.bfloat16, bitcast=True) if dtype == tl.bfloat16 else x.to(dtype)


@triton.jit  # type: ignore[untyped-decorator]
def rounded(x, dtype: tl.constexpr):  # type: ignore[no-untyped-def]
    """float64 to `dtype` in one rounding; to 16 bits by way of a float32 rounded to odd (reference.round_once)."""
    if dtype.primitive_bitwidth == 16:
        nearest = x.to(tl.float32)
        back = nearest.to(tl.float64)
        bits = nearest.to(tl.int32, bitcast=True)
        is_even = (bits & 1) == 0
        step = tl.where(tl.abs(x) > tl.abs(back), 1, -1)
        odd = tl.where(is_even & (back != x) & (x == x), bits + step, bits).to(tl.float32, bitcast=True)
        result = narrowed(odd, dtype)
    else:
        result = x.to(dtype)
    return result
