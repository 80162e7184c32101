// A quick look at float32 results, eight at a time: the textbook formulas on the C library's vector functions (libmvec, at
// most 4 ULP of double each). It decides what is clear by `margin`; everything else is left to the judge in oracle.cpp.
// A function without a screen is left to the judge altogether.
#pragma once

#include <cmath>
#include <cstdint>

#if defined(__AVX512F__) && defined(__AVX512DQ__) && defined(HILLOCK_LIBMVEC)
#define HILLOCK_SCREEN 1
#include <immintrin.h>

typedef double Eight __attribute__((vector_size(64)));
extern "C" {
Eight _ZGVeN8v_exp(Eight);
Eight _ZGVeN8v_expm1(Eight);
Eight _ZGVeN8v_log1p(Eight);
Eight _ZGVeN8v_tanh(Eight);
Eight _ZGVeN8v_cosh(Eight);
Eight _ZGVeN8v_erfc(Eight);
}

namespace screen {

// Errors of the screen, in ULP of float32, are below a quarter of this (a test holds it to that).
constexpr double margin = 4e-6;

inline Eight least(Eight a, double b) { return a < b ? a : Eight{} + b; }
inline Eight most(Eight a, double b) { return a > b ? a : Eight{} + b; }
inline Eight held(Eight x, double limit) { return most(least(x, limit), -limit); }
inline Eight size(Eight x) { return Eight(_mm512_abs_pd(__m512d(x))); }
inline Eight exp(Eight x) { return _ZGVeN8v_exp(held(x, 700)); }
inline Eight expm1(Eight x) { return _ZGVeN8v_expm1(held(x, 700)); }
inline Eight log1p(Eight x) { return _ZGVeN8v_log1p(x); }
inline Eight tanh(Eight x) { return _ZGVeN8v_tanh(held(x, 40)); }
inline Eight cosh(Eight x) { return _ZGVeN8v_cosh(held(x, 350)); }
inline Eight upper_tail(Eight x) { return 0.5 * _ZGVeN8v_erfc(held(x, 36) * 0.70710678118654752440); }
inline Eight sigmoid(Eight x) { return 1 / (1 + exp(-x)); }
inline Eight silu_slope(Eight u) {
  u = held(u, 700);
  return sigmoid(u) * (1 + u * sigmoid(-u));
}
inline Eight sech2(Eight x) {
  const Eight k = cosh(x);
  return 1 / (k * k);
}
inline Eight softplus(Eight x) { return most(x, 0) + log1p(exp(-size(x))); }
inline Eight inner(Eight x) { return 1.59576912160573071176 * (x + 0.044715 * x * x * x); }
inline Eight one(Eight x) { return x * 0 + 1; }

#define SCREEN(name, value_of_x, slope_of_x)                                                    \
  struct name {                                                                                 \
    static Eight value(Eight x, [[maybe_unused]] const double* c) { return value_of_x; }        \
    static Eight slope(Eight x, [[maybe_unused]] const double* c) { return slope_of_x; }        \
  };

struct None {};
SCREEN(Sigmoid, sigmoid(x), exp(-size(x)) / ((1 + exp(-size(x))) * (1 + exp(-size(x)))))
SCREEN(LogSigmoid, -softplus(-x), sigmoid(-x))
SCREEN(Silu, x * sigmoid(x), silu_slope(x))
SCREEN(GeluSigmoid, x * sigmoid(1.702 * x), silu_slope(1.702 * x))
SCREEN(Swish, x * sigmoid(c[0] * x), silu_slope(c[0] * x))
SCREEN(Tanh, tanh(x), sech2(x))
SCREEN(Gelu, x * upper_tail(-x), upper_tail(-x) + held(x, 36) * exp(-0.5 * held(x, 36) * held(x, 36)) * 0.39894228040143267794)
SCREEN(GeluTanh, x * sigmoid(inner(held(x, 20))),
       sigmoid(inner(held(x, 20))) * (1 + held(x, 20) * 1.59576912160573071176 * (1 + 0.134145 * held(x, 20) * held(x, 20)) *
                                              sigmoid(-inner(held(x, 20)))))
SCREEN(Mish, x * tanh(log1p(exp(x))), tanh(log1p(exp(x))) + held(x, 300) * sigmoid(x) * sech2(log1p(exp(least(x, 300)))))
SCREEN(Softplus, softplus(x), sigmoid(x))
SCREEN(Elu, x < 0 ? c[0] * expm1(x) : x, x > 0 ? one(x) : c[0] * exp(x))
SCREEN(Celu, x < 0 ? c[0] * expm1(x / c[0]) : x, x > 0 ? one(x) : exp(x / c[0]))
constexpr double selu_scale = 1.0507009873554804934, selu_alpha = 1.6732632423543772848;
SCREEN(Selu, x < 0 ? selu_scale * selu_alpha * expm1(x) : selu_scale * x,
       x > 0 ? selu_scale * one(x) : selu_scale * selu_alpha * exp(x))
SCREEN(Su, x < 0 ? x * exp(x) : x, x < 0 ? (1 + held(x, 700)) * exp(x) : one(x))
SCREEN(Softsign, x / (1 + size(x)), 1 / ((1 + size(x)) * (1 + size(x))))
SCREEN(Hardswish, x <= -3 ? 0 * held(x, 3) : x >= 3 ? x : x * (x + 3) / 6, x <= -3 ? 0 * one(x) : x >= 3 ? one(x) : (2 * x + 3) / 6)
SCREEN(Hardsigmoid, held(x, 3) / 6 + 0.5, size(x) < 3 ? one(x) / 6 : 0 * one(x))
SCREEN(Relu, x > 0 ? x : 0 * held(x, 1), x > 0 ? one(x) : 0 * held(x, 1))
SCREEN(LeakyRelu, x > 0 ? x : c[0] * x, x > 0 ? one(x) : c[0] * one(x))
SCREEN(Relu6, least(most(x, 0), 6), (x > 0) & (x < 6) ? one(x) : 0 * one(x))
SCREEN(Hardtanh, least(most(x, c[0]), c[1]), (x > c[0]) & (x < c[1]) ? one(x) : 0 * one(x))
SCREEN(LecunTanh, 1.7159 * tanh(2 * x / 3), 1.7159 * 2 / 3 * sech2(2 * x / 3))
SCREEN(SymmetricalSigmoid, tanh(x / 2), 0.5 * sech2(x / 2))
SCREEN(PenalisedTanh, x > 0 ? tanh(x) : c[0] * tanh(x), x > 0 ? sech2(x) : c[0] * sech2(x))
SCREEN(ComplementaryLogLog, -expm1(-exp(least(x, 6))), exp(least(x, 6) - exp(least(x, 6))))
SCREEN(Gaussian, exp(-x * x), -2 * x * exp(-x * x))
SCREEN(Elish, x > 0 ? x * sigmoid(x) : expm1(x) * sigmoid(x),
       x > 0 ? silu_slope(x) : exp(x) * sigmoid(x) + expm1(x) * sigmoid(x) * sigmoid(-x))
SCREEN(SquaredRelu, x > 0 ? x * x : 0 * held(x, 1), x > 0 ? 2 * x : 0 * held(x, 1))
SCREEN(SoftShrink, x > c[0] ? x - c[0] : x < -c[0] ? x + c[0] : 0 * held(x, 1), size(x) > c[0] ? one(x) : 0 * one(x))
SCREEN(HardShrink, size(x) > c[0] ? x : 0 * held(x, 1), size(x) > c[0] ? one(x) : 0 * one(x))
SCREEN(Threshold, x > c[0] ? x : c[1] + 0 * one(x), x > c[0] ? one(x) : 0 * one(x))
SCREEN(HardsigmoidKeras, held(x, 2.5) / 5 + 0.5, size(x) < 2.5 ? one(x) / 5 : 0 * one(x))
SCREEN(HardsigmoidBinaryConnect, held(x, 1) / 2 + 0.5, size(x) < 1 ? 0.5 * one(x) : 0 * one(x))
#undef SCREEN

// What one vector of results came to: lanes that the judge must see, and lanes that are surely not the nearest value.
struct Look {
  __mmask8 unclear, misrounded;
};

// Looks at eight results y against the truth t. worst: the largest error known; a larger one is for the judge.
inline Look look(Eight truth, Eight result, double worst) {
  const __m512d t = __m512d(truth), y = __m512d(result);
  const __m512d t_size = _mm512_abs_pd(t);
  // 2^(23 - exponent of t), the exponent not below -126: one over the unit in the last place.
  __m512i exponent = _mm512_srli_epi64(_mm512_castpd_si512(t_size), 52);
  exponent = _mm512_max_epi64(exponent, _mm512_set1_epi64(1023 - 126));
  const __m512d per_unit = _mm512_castsi512_pd(_mm512_slli_epi64(_mm512_sub_epi64(_mm512_set1_epi64(2069), exponent), 52));
  const __m512d error = _mm512_mul_pd(_mm512_abs_pd(_mm512_sub_pd(y, t)), per_unit);
  const auto above = [](__m512d a, double b) { return _mm512_cmp_pd_mask(a, _mm512_set1_pd(b), _CMP_NLE_UQ); };  // or NaN
  const __mmask8 half = above(error, 0.5 - margin), more = above(error, 0.5 + margin);
  const __mmask8 top = above(t_size, 0x1.fffffep127);
  const __mmask8 sign = _mm512_cmp_pd_mask(_mm512_mul_pd(t, y), _mm512_setzero_pd(), _CMP_LT_OQ);
  __mmask8 unclear = (half & ~more) | above(error, 1 - margin) | above(error, worst + margin) | top | sign;
  // Far above the largest float, an infinity of the right sign is right.
  const __mmask8 infinite = _mm512_cmp_pd_mask(y, t, _CMP_EQ_OQ) |
      (_mm512_mask_cmp_pd_mask(top, t_size, _mm512_set1_pd(0x1p128), _CMP_GE_OQ) & ~sign &
       _mm512_cmp_pd_mask(_mm512_abs_pd(y), _mm512_set1_pd(INFINITY), _CMP_EQ_OQ));
  unclear &= ~infinite;
  return {unclear, __mmask8(more & ~unclear & ~infinite)};
}

}  // namespace screen
#endif
