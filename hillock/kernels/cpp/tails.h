// The tails beyond the tables, in float32: e^t as a sum of two numbers times a power of two, times a factor that is such
// a sum as well, so that there is one final rounding. Each tail holds for |x| at or beyond the end of its table.
#pragma once

#include "blocks.h"

#ifdef HILLOCK_TABLES
namespace hillock::tails {

HILLOCK_INLINE Vector plus(Vector a, Vector b) { return _mm512_add_ps(a, b); }
HILLOCK_INLINE Vector minus(Vector a, Vector b) { return _mm512_sub_ps(a, b); }
HILLOCK_INLINE Vector times(Vector a, Vector b) { return _mm512_mul_ps(a, b); }
HILLOCK_INLINE Vector fma(Vector a, Vector b, Vector c) { return _mm512_fmadd_ps(a, b, c); }
HILLOCK_INLINE Vector fms(Vector a, Vector b, Vector c) { return _mm512_fmsub_ps(a, b, c); }    // ab - c
HILLOCK_INLINE Vector fnma(Vector a, Vector b, Vector c) { return _mm512_fnmadd_ps(a, b, c); }  // c - ab

template <std::size_t N>
HILLOCK_INLINE Vector polynomial(const float (&coefficients)[N], Vector x) {
  Vector sum = all(coefficients[N - 1]);
#pragma GCC unroll 8
  for (int k = int(N) - 2; k >= 0; --k) sum = fma(sum, x, all(coefficients[k]));
  return sum;
}

// |x|, held to where every tail has long been 0, and away from 0 (lanes that do not count).
HILLOCK_INLINE Vector distance(Vector x, float far = 121.0f) {
  return _mm512_max_ps(_mm512_min_ps(size_of(x), all(far)), all(4.0f));
}

// The product a b, or the product of a sum and a constant, as a sum.
HILLOCK_INLINE Pair product(Vector a, Vector b) {
  const Vector high = times(a, b);
  return {high, fms(a, b, high)};
}
HILLOCK_INLINE Pair product(Pair a, float high, float low) {
  const Vector p = times(a.high, all(high));
  return {p, plus(fms(a.high, all(high), p), fma(a.low, all(high), times(a.high, all(low))))};
}
constexpr float high_of(long double c) { return float(c); }
constexpr float low_of(long double c) { return float(c - float(c)); }

// (high + low) 2^k
struct Scaled {
  Pair m;
  Vector k;
};
// The same as one number for use in a correction: not below 2^-40, so that its square is no denormal.
HILLOCK_INLINE Vector small(Scaled e) { return _mm512_scalef_ps(total(e.m), _mm512_max_ps(e.k, all(-40.0f))); }

// y 2^k for -180 < k <= 0. Denormal results are put together as integers: arithmetic that underflows takes a hundred
// times as long.
HILLOCK_INLINE Vector scale(Vector y, Vector k) {
  const Lanes deep = below(k, -64.0f);
  const Vector z = _mm512_scalef_ps(y, _mm512_mask_add_ps(k, deep, k, all(149.0f)));
  const Lanes denormal = _mm512_mask_cmp_ps_mask(deep, size_of(z), all(0x1p23f), _CMP_LT_OQ);
  const Vector normal = _mm512_mask_scalef_ps(z, Lanes(deep & ~denormal), z, all(-149.0f));
  const __m512i bits = _mm512_abs_epi32(_mm512_cvtps_epi32(z));
  return _mm512_mask_mov_ps(normal, denormal, signed_as(z, _mm512_castsi512_ps(bits)));
}
HILLOCK_INLINE Vector value(Scaled e) { return scale(total(e.m), e.k); }
HILLOCK_INLINE Vector times(Vector w, Scaled e) { return scale(hillock::times(w, e.m), e.k); }
HILLOCK_INLINE Scaled operator*(Scaled e, Pair f) {
  const Vector p = times(e.m.high, f.high);
  return {{p, fma(total(e.m), f.low, fma(e.m.low, f.high, fms(e.m.high, f.high, p)))}, e.k};
}
// e (1 + c) for a small c.
HILLOCK_INLINE Scaled corrected(Scaled e, Vector c) { return {{e.m.high, fma(total(e.m), c, e.m.low)}, e.k}; }

// e^(t + t_low) for t <= -4: t - k ln 2 is exact with the first 20 bits of ln 2.
HILLOCK_INLINE Scaled exponential(Vector t, Vector t_low) {
  t = _mm512_max_ps(t, all(-121.0f));
  const Vector k = minus(fma(t, all(0x1.715476p+0f), all(0x1.8p23f)), all(0x1.8p23f));
  const Vector r = fnma(k, all(0x1.62e430p-1f), t);
  const Vector r_low = fnma(k, all(-0x1.05c610p-29f), t_low);
  const Vector one = plus(all(1.0f), r);
  const Vector lost = minus(r, minus(one, all(1.0f)));
  const Vector rest = times(times(r, r), polynomial(polynomials::exponential_tail, r));
  return {{one, fma(r_low, plus(one, rest), plus(rest, lost))}, k};
}
HILLOCK_INLINE Scaled exponential(Vector t) { return exponential(t, _mm512_setzero_ps()); }

// w T for x < 0, w (1 - T) for x >= 0; or the other way.
HILLOCK_INLINE Vector either_side(Vector w, Vector x, Scaled tail, bool reflected = false) {
  const Vector y = times(w, tail);
  return _mm512_mask_sub_ps(y, reflected ? negative(x) : Lanes(~negative(x)), w, y);
}

// σ(-u) where n = e^-u, and the derivative of u σ(u) at -u, by their series in n (the next terms are below 2^-29).
HILLOCK_INLINE Scaled logistic(Scaled e) {
  const Vector n = small(e);
  return corrected(e, fms(n, n, n));
}
HILLOCK_INLINE Scaled silu_slope(Scaled e, Pair u) {
  const Vector n = small(e), inner = fma(n, fnma(all(3.0f), u.high, all(1.0f)), fms(all(2.0f), u.high, all(1.0f)));
  return e * Pair{minus(all(1.0f), u.high), fms(n, inner, u.low)};
}

template <bool by_x, bool reflected = false>
struct Sigmoid {
  static HILLOCK_INLINE Vector finish(Vector w, Vector x) {
    return either_side(w, x, logistic(exponential(minus(all(0.0f), distance(x)))), reflected);
  }
};
template <bool reflected>
struct Sigmoid<false, reflected> {  // the value itself
  static HILLOCK_INLINE Vector finish(Vector, Vector x) { return Sigmoid<true, reflected>::finish(all(1.0f), x); }
};
// n/(1 + n)², n = e^(-factor |x|), times 2^more.
template <int factor, int more>
struct SigmoidSlope {
  static HILLOCK_INLINE Vector finish(Vector w, Vector x) {
    const Scaled e = exponential(times(distance(x), all(-float(factor))));
    const Vector n = small(e);
    const Scaled y = corrected(e, times(n, fms(all(3.0f), n, all(2.0f))));
    return times(w, {y.m, plus(y.k, all(float(more)))});
  }
};
struct SiluSlope {
  static HILLOCK_INLINE Vector finish(Vector w, Vector x) {
    const Vector a = distance(x);
    return either_side(w, x, silu_slope(exponential(minus(all(0.0f), a)), {a, all(0.0f)}));
  }
};

constexpr long double gelu_sigmoid = 1.702L;
HILLOCK_INLINE Pair gelu_sigmoid_argument(Vector a) {
  return product({a, _mm512_setzero_ps()}, high_of(gelu_sigmoid), low_of(gelu_sigmoid));
}
HILLOCK_INLINE Scaled exponential_of_minus(Pair u) {
  return exponential(minus(all(0.0f), u.high), minus(all(0.0f), u.low));
}
struct GeluSigmoid {
  static HILLOCK_INLINE Vector finish(Vector w, Vector x) {
    return either_side(w, x, logistic(exponential_of_minus(gelu_sigmoid_argument(distance(x)))));
  }
};
struct GeluSigmoidSlope {
  static HILLOCK_INLINE Vector finish(Vector w, Vector x) {
    const Pair u = gelu_sigmoid_argument(distance(x));
    return either_side(w, x, silu_slope(exponential_of_minus(u), u));
  }
};

struct ToOne {  // ±1 to the last bit
  static HILLOCK_INLINE Vector finish(Vector, Vector x) { return signed_as(x, all(1.0f)); }
};

// The normal distribution: e^(-a²/2), and a m(a) = 1/√(2π) + v P(v), v = 1/a², m being Mills' ratio.
constexpr long double density = 0.398942280401432677939946059934381868L;
struct Normal {
  Scaled e;
  Vector v, rest;
  HILLOCK_INLINE explicit Normal(Vector a) {
    const Pair square = product(a, a);
    e = exponential_of_minus({times(square.high, all(0.5f)), times(square.low, all(0.5f))});
    const Vector about = _mm512_rcp14_ps(square.high);  // and a Newton step: 2^-27 in a tenth of a division's time
    v = fma(about, fnma(about, square.high, all(1.0f)), about);
    rest = times(v, polynomial(polynomials::normal_tail, v));
  }
};
struct Gelu {  // x T = -e (1/√(2π) + rest)
  static HILLOCK_INLINE Vector finish(Vector, Vector x) {
    const Normal n(distance(x, 16.0f));
    const Scaled t = n.e * Pair{all(high_of(density)), plus(n.rest, all(low_of(density)))};
    const Vector y = value(t);
    return _mm512_mask_sub_ps(opposite(y), Lanes(~negative(x)), x, y);
  }
};
struct GeluSlope {  // T = -a e (1/√(2π) - v (1/√(2π) + rest))
  static HILLOCK_INLINE Vector finish(Vector w, Vector x) {
    const Vector a = distance(x, 16.0f);
    const Normal n(a);
    const Vector less = fnma(n.v, plus(all(high_of(density)), n.rest), all(low_of(density)));
    const Pair d = product(opposite(a), all(high_of(density)));
    return either_side(w, x, n.e * Pair{d.high, fnma(a, less, d.low)});
  }
};

// c (x + 0.044715 x³) and its derivative times x, for a = |x|; c = 2√(2/π).
constexpr long double twice_root = 1.59576912160573071175978423973752747L;
HILLOCK_INLINE Pair cubic(Vector a, Pair square, long double coefficient) {
  const Pair q = product(square, high_of(coefficient), low_of(coefficient));
  const Vector f = plus(q.high, all(1.0f));
  const Vector f_low = plus(minus(q.high, minus(f, all(1.0f))), q.low);
  const Pair z = product(a, f);
  return product({z.high, fma(a, f_low, z.low)}, high_of(twice_root), low_of(twice_root));
}
struct GeluTanh {
  static HILLOCK_INLINE Vector finish(Vector w, Vector x) {
    const Vector a = distance(x, 16.0f);
    return either_side(w, x, logistic(exponential_of_minus(cubic(a, product(a, a), 0.044715L))));
  }
};
struct GeluTanhSlope {  // T = n (1 - z) + n² (2z - 1), z = x times the derivative of the inner function
  static HILLOCK_INLINE Vector finish(Vector w, Vector x) {
    const Vector a = distance(x, 16.0f);
    const Pair square = product(a, a), z = cubic(a, square, 0.134145L);
    const Scaled e = exponential_of_minus(cubic(a, square, 0.044715L));
    const Vector one = minus(all(1.0f), z.high), lost = minus(minus(all(1.0f), one), z.high);
    const Vector inner = fms(all(2.0f), z.high, all(1.0f));
    return either_side(w, x, e * Pair{one, fma(small(e), inner, minus(lost, z.low))});
  }
};

struct Mish {  // w (n - n²/2) for x < 0, w (1 - 2n² + 4n³) for x > 0
  static HILLOCK_INLINE Vector finish(Vector w, Vector x) {
    const Scaled e = exponential(minus(all(0.0f), distance(x)));
    const Vector n = small(e), y = times(w, corrected(e, times(n, all(-0.5f))));
    const Vector above = fma(times(w, times(n, n)), fms(all(4.0f), n, all(2.0f)), w);
    return _mm512_mask_mov_ps(y, Lanes(~negative(x)), above);
  }
};
// n (1 + x) - n² (1/2 + x) + n⁴ (1 + 4x)/4 - n⁵ (1 + 5x)/4 for x < 0;
// 1 + n² (4x - 2) - n³ (12x - 4) + n⁴ (16x - 4) for x > 0
struct MishSlope {
  static HILLOCK_INLINE Vector finish(Vector w, Vector x) {
    const Vector a = distance(x);
    const Scaled e = exponential(minus(all(0.0f), a));
    const Vector n = small(e);
    const Vector fourth = fma(n, fms(all(1.25f), a, all(0.25f)), minus(all(0.25f), a));
    const Vector bend = fma(times(n, n), fourth, minus(a, all(0.5f)));
    const Vector y = times(w, e * Pair{minus(all(1.0f), a), times(n, bend)});
    const Vector cubic = fnma(n, fms(all(16.0f), a, all(4.0f)), fms(all(12.0f), a, all(4.0f)));
    const Vector inner = fnma(n, cubic, fms(all(4.0f), a, all(2.0f)));
    return _mm512_mask_mov_ps(y, Lanes(~negative(x)), fma(times(w, times(n, n)), inner, w));
  }
};

template <bool reflected = false>
struct Softplus {  // log(1 + n), and x more for x > 0
  static HILLOCK_INLINE Vector finish(Vector, Vector x) {
    const Vector u = reflected ? opposite(x) : x;
    const Scaled e = exponential(minus(all(0.0f), distance(x)));
    const Vector n = small(e), y = value(corrected(e, times(n, fms(n, all(1.0f / 3), all(0.5f)))));
    const Vector both = _mm512_mask_add_ps(y, Lanes(~negative(u)), u, y);
    return reflected ? opposite(both) : both;
  }
};

template <long double scale>
struct Expm1 {  // scale (e^x - 1), x < -17
  static HILLOCK_INLINE Vector finish(Vector, Vector x) {
    const Vector n = small(exponential(minus(all(0.0f), distance(x))));
    return minus(fms(n, all(high_of(scale)), all(low_of(scale))), all(high_of(scale)));
  }
};
template <long double scale>
struct Exponential {  // w scale e^x, x < 0
  static HILLOCK_INLINE Vector finish(Vector w, Vector x) {
    Scaled e = exponential(minus(all(0.0f), distance(x)));
    if constexpr (scale != 1.0L) e = e * Pair{all(high_of(scale)), all(low_of(scale))};
    return times(w, e);
  }
};
struct SuSlope {  // w (1 + x) e^x, x < 0
  static HILLOCK_INLINE Vector finish(Vector w, Vector x) {
    const Vector a = distance(x);
    const Scaled e = exponential(minus(all(0.0f), a)) * Pair{minus(all(1.0f), a), _mm512_setzero_ps()};
    return times(w, e);
  }
};

}  // namespace hillock::tails
#endif
