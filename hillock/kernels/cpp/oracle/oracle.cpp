// The independent judge: shares no code with the kernels. Its formulas are the textbook ones on the C library's
// functions in double (below 1 ULP of double each), in long double where the terms of a derivative cancel. It compares
// results with the true value in units in the last place (ULP) of the result's format.
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "screen.h"

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

template <class T> T sigmoid(T x) { return 1 / (1 + std::exp(-x)); }
template <class T> bool is_far(T x) { return std::abs(x) > T(11500); }
template <class T> T step_limit(T x) { return x > 0 ? T(1) : -T(0); }

// One struct a function: value and slope for T = double or long double; c are its constants; root: where φ' is 0.
#define FUNCTION(name, root_of_slope, value_of_x, slope_of_x)                                   \
  struct name {                                                                                 \
    static double root(const double*) { return root_of_slope; }                                 \
    template <class T> static T value([[maybe_unused]] T x, [[maybe_unused]] const double* c) { value_of_x; } \
    template <class T> static T slope([[maybe_unused]] T x, [[maybe_unused]] const double* c) { slope_of_x; } \
  };
constexpr double none = 1e300;

FUNCTION(Sigmoid, none, return sigmoid(x), T e = std::exp(-std::abs(x)); return e / (1 + e) / (1 + e))
FUNCTION(LogSigmoid, none, return x > 0 ? -std::log1p(std::exp(-x)) : x - std::log1p(std::exp(x)), return sigmoid(-x))
FUNCTION(Silu, -1.2784645427610738, return x < -11500 ? -T(0) : x / (1 + std::exp(-x)),
         return is_far(x) ? step_limit(x) : sigmoid(x) * (1 + x * sigmoid(-x)))
FUNCTION(GeluSigmoid, -1.2784645427610738 / 1.702,
         return x < -11500 ? -T(0) : x / (1 + std::exp(-T(1.702L) * x)),
         if (is_far(x)) return step_limit(x); T u = T(1.702L) * x; return sigmoid(u) * (1 + u * sigmoid(-u)))
struct Swish {
  static double root(const double* c) { return -1.2784645427610738 / c[0]; }
  template <class T> static T value(T x, const double* c) {
    const T u = T(c[0]) * x;
    return u < -11500 ? std::copysign(T(0), x) : x / (1 + std::exp(-u));
  }
  template <class T> static T slope(T x, const double* c) {
    const T u = T(c[0]) * x;
    return is_far(u) ? step_limit(u) : sigmoid(u) * (1 + u * sigmoid(-u));
  }
};
FUNCTION(Tanh, none, return std::tanh(x), T k = std::cosh(x); return 1 / k / k)
FUNCTION(Tanhshrink, none,
         if (std::abs(x) > T(0.5)) return x - std::tanh(x);
         if (std::abs(x) > T(1e-3)) return T((long double)x - std::tanh((long double)x));
         T s = x * x; return x * s * (T(1) / 3 - s * (T(2) / 15 - s * (T(17) / 315))),
         T t = std::tanh(x); return t * t)
FUNCTION(Gelu, -0.7517915246935645, if (x < -60) return -T(0); return x * std::erfc(-x * T(0.707106781186547524400844362104849L)) / 2,
         if (std::abs(x) > 60) return step_limit(x);
         return std::erfc(-x * T(0.707106781186547524400844362104849L)) / 2 +
                x * std::exp(-x * x / 2) * T(0.398942280401432677939946059934L))
FUNCTION(GeluTanh, -0.7524614220710163,
         if (x < -60) return -T(0); if (x > 60) return x;
         return x / (1 + std::exp(-T(1.59576912160573071175978423973752747L) * (x + T(0.044715L) * x * x * x))),
         if (std::abs(x) > 60) return step_limit(x);
         T k = T(1.59576912160573071175978423973752747L); T u = k * (x + T(0.044715L) * x * x * x);
         return sigmoid(u) * (1 + x * k * (1 + T(0.134145L) * x * x) * sigmoid(-u)))
FUNCTION(Mish, -1.1924312145154952, return x < -11500 ? -T(0) : x * std::tanh(std::log1p(std::exp(x))),
         if (is_far(x)) return step_limit(x); if (x > 300) return T(1);
         T sp = std::log1p(std::exp(x)); T k = std::cosh(sp); return std::tanh(sp) + x * sigmoid(x) / k / k)
FUNCTION(Softplus, none,
         T b = T(c[0]); T u = b * x; if (u > c[1]) return x;
         return u > 0 ? x + std::log1p(std::exp(-u)) / b : std::log1p(std::exp(u)) / b,
         T u = T(c[0]) * x; return u > c[1] ? T(1) : sigmoid(u))
FUNCTION(Elu, none, return x < 0 ? T(c[0]) * std::expm1(x) : x, return x > 0 ? T(1) : T(c[0]) * std::exp(x))
FUNCTION(Celu, none, return x < 0 ? T(c[0]) * std::expm1(x / T(c[0])) : x,
         return x > 0 ? T(1) : std::exp(x / T(c[0])))
FUNCTION(Selu, none,
         T s = T(1.0507009873554804934193349852946L); T a = T(1.6732632423543772848170429916717L);
         return x < 0 ? s * a * std::expm1(x) : s * x,
         T s = T(1.0507009873554804934193349852946L); T a = T(1.6732632423543772848170429916717L);
         return x > 0 ? s : s * a * std::exp(x))
FUNCTION(Su, -1.0, if (x < -11500) return -T(0); return x < 0 ? x * std::exp(x) : x,
         if (x < -11500) return -T(0); return x < 0 ? (1 + x) * std::exp(x) : T(1))
FUNCTION(Softsign, none, return std::isinf(x) ? std::copysign(T(1), x) : x / (1 + std::abs(x)),
         T d = 1 + std::abs(x); return 1 / d / d)
FUNCTION(Hardswish, -1.5, if (x <= -3) return -T(0); return x >= 3 ? x : x * (x + 3) / 6,
         if (x <= -3) return T(0); return x >= 3 ? T(1) : (2 * x + 3) / 6)
FUNCTION(Hardsigmoid, none, if (x <= -3) return T(0); return x >= 3 ? T(1) : (x + 3) / 6,
         return x <= -3 || x >= 3 ? T(0) : T(1) / 6)
FUNCTION(Relu, none, return x > 0 ? x : T(0), return x > 0 ? T(1) : T(0))
FUNCTION(LeakyRelu, none, return x > 0 ? x : T(c[0]) * x, return x > 0 ? T(1) : T(c[0]))
FUNCTION(Relu6, none, return x > 6 ? T(6) : x > 0 ? x : T(0), return x > 0 && x < 6 ? T(1) : T(0))
FUNCTION(Hardtanh, none, return x < c[0] ? T(c[0]) : x > c[1] ? T(c[1]) : x, return x > c[0] && x < c[1] ? T(1) : T(0))

FUNCTION(LecunTanh, none, return T(1.7159L) * std::tanh(2 * x / 3),
         T k = std::cosh(2 * x / 3); return T(2 * 1.7159L / 3) / k / k)
FUNCTION(SymmetricalSigmoid, none, return std::tanh(x / 2), T k = std::cosh(x / 2); return T(0.5) / k / k)
FUNCTION(PenalisedTanh, none, return (x > 0 ? T(1) : T(c[0])) * std::tanh(x),
         T k = std::cosh(x); return (x > 0 ? T(1) : T(c[0])) / k / k)
FUNCTION(ComplementaryLogLog, none, return -std::expm1(-std::exp(x)), if (x > 20) return T(0); return std::exp(x - std::exp(x)))
FUNCTION(Gaussian, none, return std::exp(-x * x), if (std::isinf(x)) return -std::copysign(T(0), x); return -2 * x * std::exp(-x * x))
FUNCTION(Elish, -0.881373587019543, if (x < -11500) return -T(0); return x > 0 ? x / (1 + std::exp(-x)) : std::expm1(x) * sigmoid(x),
         if (is_far(x)) return step_limit(x);
         if (x > 0) return sigmoid(x) * (1 + x * sigmoid(-x));
         return std::exp(x) * sigmoid(x) + std::expm1(x) * sigmoid(x) * sigmoid(-x))
FUNCTION(SquaredRelu, none, return x > 0 ? x * x : T(0), return x > 0 ? 2 * x : T(0))
FUNCTION(SoftShrink, none, return x > c[0] ? x - T(c[0]) : x < -c[0] ? x + T(c[0]) : T(0), return std::abs(x) > c[0] ? T(1) : T(0))
FUNCTION(HardShrink, none, return std::abs(x) > c[0] ? x : T(0), return std::abs(x) > c[0] ? T(1) : T(0))
FUNCTION(Threshold, none, return x > c[0] ? x : T(c[1]), return x > c[0] ? T(1) : T(0))
FUNCTION(HardsigmoidKeras, none, if (x <= -2.5) return T(0); return x >= 2.5 ? T(1) : (x + T(2.5)) / 5,
         return std::abs(x) < 2.5 ? T(1) / 5 : T(0))
FUNCTION(HardsigmoidBinaryConnect, none, if (x <= -1) return T(0); return x >= 1 ? T(1) : (x + 1) / 2,
         return std::abs(x) < 1 ? T(0.5) : T(0))

struct Statistics {
  double worst;         // largest error in ULP
  double worst_at;      // at which input
  int64_t misrounded;   // results that are not the nearest value
  int64_t above_one;    // results with an error of 1 ULP or more
  int64_t special;      // wrong NaN, infinity or sign
  double special_at;    // the first of these
};

float half_to_float(uint16_t h) {
  const int exponent = (h >> 10) & 31, fraction = h & 1023;
  float size = exponent == 0 ? std::ldexp(float(fraction), -24)
               : exponent == 31 ? (fraction ? NAN : INFINITY)
                                : std::ldexp(float(1024 + fraction), exponent - 25);
  return h & 0x8000 ? -size : size;
}

struct Format {
  int digits, least;  // significand bits, least exponent
  double top;         // what rounds to infinity: the largest finite number and half a unit
};
constexpr Format formats[] = {
    {24, -126, 0x1.ffffffp127}, {8, -126, 0x1.ffp127}, {11, -14, 0x1.ffep15}, {53, -1022, infinity}};

double read(const void* data, int64_t i, int format) {
  if (format == 0) return static_cast<const float*>(data)[i];
  if (format == 3) return static_cast<const double*>(data)[i];
  const uint16_t bits = static_cast<const uint16_t*>(data)[i];
  return format == 2 ? half_to_float(bits) : std::bit_cast<float>(uint32_t(bits) << 16);
}

// 2^exponent without a call.
double power_of_two(int exponent) { return std::bit_cast<double>(uint64_t(exponent + 1023) << 52); }

template <class T>
void judge(double x, double y, T truth, const Format& format, Statistics& s) {
  const auto special = [&] { if (s.special++ == 0) s.special_at = x; };
  if (std::isnan(truth) || std::isnan(y)) {
    if (std::isnan(truth) != std::isnan(y)) special();
    return;
  }
  const T size = std::abs(truth);
  if (std::isinf(y) || size >= T(format.top)) {
    if (!(std::isinf(y) && size >= T(format.top) && (y > 0) == (truth > 0))) special();
    return;
  }
  if ((y > 0 && truth < 0) || (y < 0 && truth > 0)) special();
  // A result of ±0 is held to the sign of x only at x = ±0, where it is exact; elsewhere the sign of an underflow is free.
  if (x == 0 && truth == 0 && y == 0 && std::signbit(truth) != std::signbit(y)) special();
  const int biased = int(std::bit_cast<uint64_t>(double(size)) >> 52);
  const int exponent = biased - 1023 > format.least ? biased - 1023 : format.least;
  const T error = std::abs(T(y) - truth) * (exponent - format.digits + 1 > -1022
      ? T(power_of_two(format.digits - 1 - exponent)) : std::ldexp(T(1), format.digits - 1 - exponent));
  if (error > T(s.worst)) { s.worst = double(error); s.worst_at = x; }
  if (error >= 1) ++s.above_one;
  if (error > T(0.5) * (1 + T(1e-9))) ++s.misrounded;  // at a tie either neighbour is nearest
}

template <class F>
void check(bool backward, const double* c, int format, double g, const void* x, const void* const* ys, int results,
           int64_t count, Statistics* s) {
  const double root = F::root(c);
  const Format& kind = formats[format];
  for (int64_t i = 0; i < count; ++i) {
    const double at = read(x, i, format);
    if (std::isnan(at)) {
      for (int k = 0; k < results; ++k)
        if (!std::isnan(read(ys[k], i, format)) && s[k].special++ == 0) s[k].special_at = at;
      continue;
    }
    const bool delicate = format == 3 || (backward && std::abs(at - root) < 0.0625);
    if (delicate) {
      const long double truth = backward ? g * F::template slope<long double>(at, c) : F::template value<long double>(at, c);
      for (int k = 0; k < results; ++k) judge<long double>(at, read(ys[k], i, format), truth, kind, s[k]);
    } else {
      const double truth = backward ? g * F::template slope<double>(at, c) : F::template value<double>(at, c);
      for (int k = 0; k < results; ++k) judge<double>(at, read(ys[k], i, format), truth, kind, s[k]);
    }
  }
}

#ifdef HILLOCK_SCREEN
// As `check` for float32 and g = 1: the screen decides what is clear, the rest is judged in long double.
template <class F, class Screen>
void quick_check(bool backward, const double* c, const float* x, const float* const* ys, int results, int64_t count,
                 Statistics* s, int64_t* judged) {
  const double root = backward ? F::root(c) : none;
  for (int64_t i = 0; i < count; i += 8) {
    const int n = int(count - i < 8 ? count - i : 8);
    const __mmask8 valid = __mmask8((1 << n) - 1);
    const __m512d at = _mm512_cvtps_pd(_mm256_maskz_loadu_ps(valid, x + i));
    const __mmask8 is_nan = _mm512_cmp_pd_mask(at, at, _CMP_UNORD_Q);
    const __mmask8 near = _mm512_cmp_pd_mask(_mm512_abs_pd(_mm512_sub_pd(at, _mm512_set1_pd(root))), _mm512_set1_pd(0.0625), _CMP_LT_OQ);
    const __mmask8 special = _mm512_fpclass_pd_mask(at, 0x18 | 0x06) | near;  // infinities, zeros
    const Eight truth = backward ? Screen::slope(Eight(at), c) : Screen::value(Eight(at), c);
    for (int k = 0; k < results; ++k) {
      const __m512d y = _mm512_cvtps_pd(_mm256_maskz_loadu_ps(valid, ys[k] + i));
      const screen::Look look = screen::look(truth, Eight(y), s[k].worst);
      const __mmask8 wrong_nan = is_nan & ~_mm512_cmp_pd_mask(y, y, _CMP_UNORD_Q) & valid;
      if (wrong_nan && s[k].special == 0) s[k].special_at = NAN;
      s[k].special += __builtin_popcount(wrong_nan);
      const __mmask8 unclear = (look.unclear | special) & ~is_nan & valid;
      s[k].misrounded += __builtin_popcount(look.misrounded & ~special & ~is_nan & valid);
      *judged += __builtin_popcount(unclear);
      for (unsigned lanes = unclear; lanes; lanes &= lanes - 1) {
        const int64_t j = i + __builtin_ctz(lanes);
        const long double lane = x[j];
        judge<long double>(x[j], ys[k][j], backward ? F::slope(lane, c) : F::value(lane, c), formats[0], s[k]);
      }
    }
  }
}

// The largest difference of the screen from the judge, in ULP of float32, where the screen is asked.
template <class F, class Screen>
void compare(bool backward, const double* c, const float* x, int64_t count, double* worst, double* worst_at) {
  const double root = backward ? F::root(c) : none;
  for (int64_t i = 0; i + 8 <= count; i += 8) {
    const __m512d at = _mm512_cvtps_pd(_mm256_loadu_ps(x + i));
    const Eight quick = backward ? Screen::slope(Eight(at), c) : Screen::value(Eight(at), c);
    for (int k = 0; k < 8; ++k) {
      const long double lane = x[i + k];
      if (!std::isfinite(x[i + k]) || x[i + k] == 0 || std::abs(x[i + k] - root) < 0.0625) continue;
      const long double truth = backward ? F::slope(lane, c) : F::value(lane, c);
      if (std::abs(truth) >= 0x1p128L) continue;
      Statistics s{};
      judge<long double>(x[i + k], quick[k], truth, {24, -126, infinity}, s);
      if (s.worst > *worst) { *worst = s.worst; *worst_at = x[i + k]; }
      if (s.special && std::abs(truth) > 0x1p-150L) *worst = infinity;  // the sign of an underflow is free
    }
  }
}
#endif

using Check = void (*)(bool, const double*, int, double, const void*, const void* const*, int, int64_t, Statistics*);
using QuickCheck = void (*)(bool, const double*, const float*, const float* const*, int, int64_t, Statistics*, int64_t*);
using Compare = void (*)(bool, const double*, const float*, int64_t, double*, double*);
struct Entry {
  const char* name;
  Check check;
  QuickCheck quick;
  Compare compare;
};
#ifdef HILLOCK_SCREEN
#define HILLOCK_ENTRY(name, F) {name, check<F>, quick_check<F, screen::F>, compare<F, screen::F>}
#else
#define HILLOCK_ENTRY(name, F) {name, check<F>, nullptr, nullptr}
#endif
constexpr Entry entries[] = {
    {"tanh_shrink", check<Tanhshrink>, nullptr, nullptr},
    HILLOCK_ENTRY("sigmoid", Sigmoid),
    HILLOCK_ENTRY("log_sigmoid", LogSigmoid),
    HILLOCK_ENTRY("silu", Silu),
    HILLOCK_ENTRY("swish", Swish),
    HILLOCK_ENTRY("gelu_sigmoid", GeluSigmoid),
    HILLOCK_ENTRY("tanh", Tanh),
    HILLOCK_ENTRY("gelu", Gelu),
    HILLOCK_ENTRY("gelu_tanh", GeluTanh),
    HILLOCK_ENTRY("mish", Mish),
    HILLOCK_ENTRY("softplus", Softplus),
    HILLOCK_ENTRY("elu", Elu),
    HILLOCK_ENTRY("celu", Celu),
    HILLOCK_ENTRY("selu", Selu),
    HILLOCK_ENTRY("su", Su),
    HILLOCK_ENTRY("softsign", Softsign),
    HILLOCK_ENTRY("hard_swish", Hardswish),
    HILLOCK_ENTRY("hard_sigmoid", Hardsigmoid),
    HILLOCK_ENTRY("relu", Relu),
    HILLOCK_ENTRY("leaky_relu", LeakyRelu),
    HILLOCK_ENTRY("prelu", LeakyRelu),
    HILLOCK_ENTRY("relu6", Relu6),
    HILLOCK_ENTRY("hard_tanh", Hardtanh),
    HILLOCK_ENTRY("lecun_tanh", LecunTanh),
    HILLOCK_ENTRY("symmetrical_sigmoid", SymmetricalSigmoid),
    HILLOCK_ENTRY("penalised_tanh", PenalisedTanh),
    HILLOCK_ENTRY("complementary_log_log", ComplementaryLogLog),
    HILLOCK_ENTRY("gaussian", Gaussian),
    HILLOCK_ENTRY("elish", Elish),
    HILLOCK_ENTRY("squared_relu", SquaredRelu),
    HILLOCK_ENTRY("soft_shrink", SoftShrink),
    HILLOCK_ENTRY("hard_shrink", HardShrink),
    HILLOCK_ENTRY("threshold", Threshold),
    HILLOCK_ENTRY("hard_sigmoid_keras", HardsigmoidKeras),
    HILLOCK_ENTRY("hard_sigmoid_binary_connect", HardsigmoidBinaryConnect),
};

}  // namespace

// Returns 0, or 1 for an unknown name. Judges `results` arrays for the same inputs and adds to their statistics.
// format: 0 float32, 1 bfloat16, 2 float16, 3 float64.
extern "C" int hillock_oracle_check(const char* name, int backward, const double* constants, int format, double g,
                                    const void* x, const void* const* ys, int results, int64_t count,
                                    Statistics* statistics) {
  for (const Entry& entry : entries)
    if (!std::strcmp(entry.name, name)) {
      if (count) entry.check(backward != 0, constants, format, g, x, ys, results, count, statistics);
      return 0;
    }
  return 1;
}

// The same for float32 and g = 1 by way of the screen; `judged` counts the results that it left to the judge.
extern "C" int hillock_oracle_quick(const char* name, int backward, const double* constants, const float* x,
                                    const float* const* ys, int results, int64_t count, Statistics* statistics,
                                    int64_t* judged) {
  for (const Entry& entry : entries)
    if (!std::strcmp(entry.name, name)) {
      if (entry.quick) entry.quick(backward != 0, constants, x, ys, results, count, statistics, judged);
      else {
        entry.check(backward != 0, constants, 0, 1.0, x, reinterpret_cast<const void* const*>(ys), results, count, statistics);
        *judged += count * results;
      }
      return 0;
    }
  return 1;
}

// How far the screen is from the judge, in ULP of float32; -1 where the function has no screen.
extern "C" double hillock_oracle_screen_error(const char* name, int backward, const double* constants, const float* x,
                                              int64_t count, double* at) {
  double worst = 0;
  for (const Entry& entry : entries)
    if (!std::strcmp(entry.name, name) && entry.compare) {
      entry.compare(backward != 0, constants, x, count, &worst, at);
      return worst;
    }
  return -1;
}
