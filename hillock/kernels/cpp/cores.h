// Elementary functions for the float64 path, written so that the compiler turns loops over them into vectors:
// no branches, no calls. Relative error below 2^-43, so one rounding to float32 is off by at most 0.5001 ULP.
// For float64 data the same formulas run in long double with the C library's functions (80 bits on x86).
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "generated/cores.h"

namespace hillock {

inline double fma(double a, double b, double c) { return __builtin_fma(a, b, c); }
inline long double fma(long double a, long double b, long double c) { return a * b + c; }

template <class T>
inline constexpr bool is_wide = std::is_same_v<T, long double>;

// The comparisons are ordered so that NaN passes through.
template <class T>
inline T at_least(T x, T low) { return x < low ? low : x; }
template <class T>
inline T at_most(T x, T high) { return x > high ? high : x; }
template <class T>
inline T magnitude(T x) { return std::is_same_v<T, double> ? T(__builtin_fabs(double(x))) : T(__builtin_fabsl(x)); }
template <class T>
inline T copy_sign(T size, T sign) {
  if constexpr (is_wide<T>) return __builtin_copysignl(size, sign);
  else return __builtin_copysign(size, sign);
}
template <class T>
inline T nan_through(T x, T value) { return x != x ? x : value; }

// Beyond this size of argument every exponential tail is zero (or one) in the format of the result.
template <class T>
inline constexpr T far = is_wide<T> ? T(11000) : T(700);

// Unrolled by recursion, because a loop inside a loop is not vectorised.
template <std::size_t terms, std::size_t k = 0, class T, class C>
__attribute__((always_inline)) inline T horner(const C* coefficients, T x) {
  if constexpr (k + 1 == terms) return T(coefficients[k]);
  else return fma(horner<terms, k + 1>(coefficients, x), x, T(coefficients[k]));
}
template <class T, class C, std::size_t N>
inline T horner(const C (&coefficients)[N], T x) { return horner<N>(&coefficients[0], x); }

// 1/d for 1 <= d <= 2^100: a float32 division (a quarter of the time of one in double) and a Newton step, to 2^-46.
inline double reciprocal(double d) {
  const double r = double(1.0f / float(d));
  return fma(r, fma(-d, r, 1.0), r);
}
inline long double reciprocal(long double d) { return 1.0L / d; }

// e^t = 2^k (1 + p) with k = round(t / ln 2) by adding 1.5·2^52; t <= 0 is first held to the range of double. (Positive
// t are right up to 700 and rubbish beyond; they come only where the result is not used.)
struct Reduced {
  double scale, p;  // 2^k and e^r - 1
};
inline Reduced reduce(double t) {
  t = at_least(t, -700.0);
  const double shifted = fma(t, 0x1.71547652b82fep+0, 0x1.8p52);
  const double k = shifted - 0x1.8p52;
  double r = fma(k, -0x1.62e42fefa39efp-1, t);
  r = fma(k, -0x1.abc9e3b39803fp-56, r);
  const int64_t exponent = (std::bit_cast<int64_t>(shifted) << 52) + (int64_t(1023) << 52);
  return {std::bit_cast<double>(exponent), r * horner(polynomials::expm1, r)};
}

inline double exponential(double t) {
  const Reduced e = reduce(t);
  return fma(e.scale, e.p, e.scale);
}
inline long double exponential(long double t) { return __builtin_expl(t); }

inline double exponential_minus_1(double t) {
  const Reduced e = reduce(t);
  return fma(e.scale, e.p, e.scale - 1.0);
}
inline long double exponential_minus_1(long double t) { return __builtin_expm1l(t); }

// log(1 + n) for 0 <= n <= 1.
inline double log_1_plus(double n) {
  const double s = n * reciprocal(2.0 + n);
  return s * horner(polynomials::log1p, s * s);
}
inline long double log_1_plus(long double n) { return __builtin_log1pl(n); }

// The normal distribution at a >= 0: its upper tail and its density. The square of a float32 is exact in double.
template <class T>
struct Normal {
  T tail, density;
};
inline Normal<double> normal(double a) {
  a = at_most(a, 17.0);
  const double e = exponential(-0.5 * a * a);
  const double over = reciprocal(a + 4.0);
  return {e * (horner(polynomials::mills, (a - 4.0) * over) * over), e * 0x1.9884533d43651p-2};
}
inline Normal<long double> normal(long double a) {
  a = at_most(a, 50.0L);
  return {0.5L * __builtin_erfcl(a * 0.707106781186547524400844362104849039L),
          __builtin_expl(-0.5L * a * a) * 0.398942280401432677939946059934381868L};
}

// Near a simple root of a derivative the terms cancel; there the Taylor series about the root (two parts) is used.
template <class T, std::size_t N>
inline T near_root(T x, T otherwise, const long double (&taylor)[N], double high, double low) {
  const T d = (x - T(high)) - T(low);
  const T patch = d * horner<is_wide<T> ? N : 8>(&taylor[0], d);
  return magnitude(d) < T(0.03125) ? patch : otherwise;
}

}  // namespace hillock
