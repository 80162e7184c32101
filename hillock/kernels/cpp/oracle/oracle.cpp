// The independent judge: shares no code with the kernels. Its formulas are the textbook ones on the C library's
// functions in double (below 1 ULP of double each), in long double where the terms of a derivative cancel. It compares
// results with the true value in units in the last place (ULP) of the result's format.
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

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

using Check = void (*)(bool, const double*, int, double, const void*, const void* const*, int, int64_t, Statistics*);
struct Entry {
  const char* name;
  Check check;
};
constexpr Entry entries[] = {
    {"sigmoid", check<Sigmoid>}, {"log_sigmoid", check<LogSigmoid>}, {"silu", check<Silu>},
    {"swish", check<Swish>}, {"gelu_sigmoid", check<GeluSigmoid>}, {"tanh", check<Tanh>},
    {"tanh_shrink", check<Tanhshrink>}, {"gelu", check<Gelu>}, {"gelu_tanh", check<GeluTanh>}, {"mish", check<Mish>},
    {"softplus", check<Softplus>}, {"elu", check<Elu>}, {"celu", check<Celu>}, {"selu", check<Selu>},
    {"su", check<Su>}, {"softsign", check<Softsign>}, {"hard_swish", check<Hardswish>},
    {"hard_sigmoid", check<Hardsigmoid>}, {"relu", check<Relu>}, {"leaky_relu", check<LeakyRelu>},
    {"prelu", check<LeakyRelu>}, {"relu6", check<Relu6>}, {"hard_tanh", check<Hardtanh>},
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
