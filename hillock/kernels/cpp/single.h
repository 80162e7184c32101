// Functions of a few operations, in float32 without tables: what a rounding would lose is carried along as a second
// number, so each result has one final rounding (error below 0.6 ULP). The compiler vectorises the loops anywhere.
#pragma once

#include "exact.h"
#include "lines.h"

namespace hillock {

// A constant as high + low. High is cut off rather than rounded, so both have one sign and no product of theirs with an
// infinity or a zero disagrees; low is never 0, because infinity times 0 is not a number.
struct Split {
  float high, low;
};
constexpr Split split(long double c) {
  float high = float(c);
  if ((c < 0 ? c > high : c < high)) high = std::bit_cast<float>(std::bit_cast<uint32_t>(high) - 1);
  const float low = float(c - high);
  return {high, low == 0.0f ? high * 0x1p-40f : low};
}
inline constexpr Split sixth = split(1.0L / 6);

inline float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline float times(float x, Split c) { return fma(x, c.high, x * c.low); }
inline float size_of(float x) { return __builtin_fabsf(x); }

// (t + e)/6 as the sum of two numbers, e the rounding error of t.
inline Split sixth_of(float t, float e) {
  const float c = fma(t, sixth.low, e * sixth.high);
  const float high = fma(t, sixth.high, c);
  return {high, fma(t, sixth.high, -high) + c};
}

// 1 + a, for a >= 0, as a sum of two numbers, and the reciprocal of the first.
struct OnePlus {
  float d, e, r;
  explicit OnePlus(float a) {
    const float big = a > 1.0f ? a : 1.0f, small = a > 1.0f ? 1.0f : a;
    d = 1.0f + a;
    e = small - (d - big);
    r = 1.0f / d;
  }
};

namespace single {

struct Relu {
  static float forward(float x, const Split*) { return x <= 0.0f ? 0.0f : x; }
  static float backward(float g, float x, const Split*) { return nan_through(x, x > 0.0f ? g : g * 0.0f); }
};
struct LeakyRelu {
  static float forward(float x, const Split* c) {
    const float y = times(x, c[0]);
    return x > 0.0f ? x : y;
  }
  static float backward(float g, float x, const Split* c) {
    const float y = times(g, c[0]);
    return nan_through(x, x > 0.0f ? g : y);
  }
};
struct Relu6 {
  static float forward(float x, const Split*) { return x <= 0.0f ? 0.0f : at_most(x, 6.0f); }
  static float backward(float g, float x, const Split*) {
    return nan_through(x, (x > 0.0f) & (x < 6.0f) ? g : g * 0.0f);
  }
};
struct Hardtanh {
  static float forward(float x, const Split* c) { return at_most(at_least(x, c[0].high), c[1].high); }
  static float backward(float g, float x, const Split* c) {
    return nan_through(x, (x > c[0].high) & (x < c[1].high) ? g : g * 0.0f);
  }
};
struct SquaredRelu {
  static float forward(float x, const Split*) { return x <= 0.0f ? 0.0f : x * x; }
  static float backward(float g, float x, const Split*) {
    const float large = 2.0f * (g * x), y = g * (x <= 0.0f ? 0.0f : 2.0f * x);  // 2x may overflow where 2gx does not
    return x > 1.0f ? large : y;
  }
};
struct SoftShrink {
  static float forward(float x, const Split* c) {
    const float less = size_of(x) - c[0].high;
    return less > 0.0f ? __builtin_copysignf(less, x) : nan_through(x, 0.0f);
  }
  static float backward(float g, float x, const Split* c) {
    return nan_through(x, size_of(x) > c[0].high ? g : g * 0.0f);
  }
};
struct HardShrink {
  static float forward(float x, const Split* c) { return nan_through(x, size_of(x) > c[0].high ? x : 0.0f); }
  static float backward(float g, float x, const Split* c) { return SoftShrink::backward(g, x, c); }
};
struct Threshold {
  static float forward(float x, const Split* c) { return nan_through(x, x > c[0].high ? x : c[1].high); }
  static float backward(float g, float x, const Split* c) { return nan_through(x, x > c[0].high ? g : g * 0.0f); }
};
struct HardsigmoidBinaryConnect {
  static float forward(float x, const Split*) { return 0.5f * (at_most(at_least(x, -1.0f), 1.0f) + 1.0f); }
  static float backward(float g, float x, const Split*) {
    return nan_through(x, (x > -1.0f) & (x < 1.0f) ? 0.5f * g : g * 0.0f);
  }
};
// 1/2 + x/parts, held to 0 ... 1.
template <int parts>
struct HardsigmoidOf {
  static constexpr float knee = parts / 2.0f;
  static constexpr Split slope = split(1.0L / parts);
  static float forward(float x, const Split*) {
    x = at_most(at_least(x, -knee), knee);
    const float t = x + knee;
    return fma(t, slope.high, fma(t, slope.low, (x - (t - knee)) * slope.high));
  }
  static float backward(float g, float x, const Split*) {
    return nan_through(x, (x > -knee) & (x < knee) ? times(g, slope) : g * 0.0f);
  }
};
struct Hardswish {
  static float forward(float x, const Split*) {
    const float t = x + 3.0f;
    const Split gate = sixth_of(t, x - (t - 3.0f));
    const float y = fma(x, gate.high, x * gate.low);
    return x >= 3.0f ? x : x <= -3.0f ? -0.0f : y;
  }
  static float backward(float g, float x, const Split*) {
    const float t = fma(2.0f, x, 3.0f);
    const Split slope = sixth_of(t, fma(2.0f, x, -(t - 3.0f)));
    const float y = fma(g, slope.high, g * slope.low), zero = g * 0.0f;
    return x >= 3.0f ? g : x <= -3.0f ? zero : y;
  }
};
struct HardswishBrief {  // for bfloat16: float32's own rounding errors do not show
  static float forward(float x, const Split*) {
    const float y = x * (x + 3.0f) * sixth.high;
    return x >= 3.0f ? x : x <= -3.0f ? -0.0f : y;
  }
  static float backward(float g, float x, const Split*) {
    const float y = g * ((2.0f * x + 3.0f) * sixth.high), zero = g * 0.0f;
    return x >= 3.0f ? g : x <= -3.0f ? zero : y;
  }
};
struct Softsign {
  static float forward(float x, const Split*) {
    const float a = at_most(size_of(x), 0x1p30f);
    const OnePlus one(a);
    const float y = a * one.r;
    return __builtin_copysignf(fma(fma(-y, one.d, a) - y * one.e, one.r, y), x);
  }
  static float backward(float g, float x, const Split*) {
    const float a = at_most(size_of(x), 0x1p126f);
    const OnePlus one(a);
    const float rest = one.r * (fma(-one.d, one.r, 1.0f) - one.e * one.r);  // 1/(1 + |x|) = r + rest
    const float q = g * one.r;
    const float q_rest = fma(g, one.r, -q) + g * rest;
    const float up = a > 0x1p40f ? 0x1p40f : 1.0f, down = a > 0x1p40f ? 0x1p-40f : 1.0f;  // no low part is denormal
    const float r = up * one.r;
    return down * fma(q, r, fma(q_rest, r, q * (up * rest)));
  }
};

}  // namespace single

template <class Kind>
inline typename Kind::Storage from_single(float y) { return Kind::store(y); }
template <>
inline uint16_t from_single<Bfloat16>(float y) {  // to nearest even; a NaN from 16-bit input has zeros where this adds
  const uint32_t bits = std::bit_cast<uint32_t>(y);
  return uint16_t((bits + ((bits >> 16) & 1u) + 0x7fffu) >> 16);
}

template <class S, class Kind, int count>
__attribute__((flatten)) void single_forward(const void* from, void* to, int64_t n, const double* constants,
                                             bool stream) {
  const auto* x = static_cast<const typename Kind::Storage*>(from);
  Split c[most_constants] = {};
  for (int k = 0; k < count; ++k) c[k] = split(constants[k]);
  const auto compute = [&](int64_t first, auto size, auto* y) {
    const auto* at = x + first;
    const int64_t last = size;
#pragma GCC ivdep
    for (int64_t i = 0; i < last; ++i) y[i] = from_single<Kind>(S::forward(float(Kind::load(at[i])), c));
  };
  in_lines(static_cast<typename Kind::Storage*>(to), n, stream, compute, [&](int64_t i) { read_ahead(x + i); });
}

template <class S, class Kind, int count>
__attribute__((flatten)) void single_backward(const void* gradient, const void* from, void* to, int64_t n,
                                              const double* constants, bool stream) {
  const auto* g = static_cast<const typename Kind::Storage*>(gradient);
  const auto* x = static_cast<const typename Kind::Storage*>(from);
  Split c[most_constants] = {};
  for (int k = 0; k < count; ++k) c[k] = split(constants[k]);
  const auto compute = [&](int64_t first, auto size, auto* y) {
    const auto *at = x + first, *w = g + first;
    const int64_t last = size;
#pragma GCC ivdep
    for (int64_t i = 0; i < last; ++i)
      y[i] = from_single<Kind>(S::backward(float(Kind::load(w[i])), float(Kind::load(at[i])), c));
  };
  in_lines(static_cast<typename Kind::Storage*>(to), n, stream, compute, [&](int64_t i) {
    read_ahead(x + i);
    read_ahead(g + i);
  });
}

// The kernels of a function whose `faithful` form is S (Brief: for bfloat16); constants that are no float32 may take the
// float64 path.
template <class F, class S, int count = 0, auto is_standard = [](const double*) { return true; }, class Brief = S>
Kernel single_kernel(const char* name, const char* parameters = "", bool bits = false) {
  Kernel kernel = exact_kernel<F, count>(name, parameters, bits);
  kernel.single = true;
  const auto use = [&]<class Kind, class Form>(Format format, Kind, Form) {
    kernel.forward[format][faithful] = [](const void* x, void* y, int64_t n, const double* constants, bool stream) {
      (is_standard(constants) ? single_forward<Form, Kind, count> : exact_forward<F, Kind, count>)(x, y, n, constants,
                                                                                                   stream);
    };
    kernel.backward[format][faithful] = [](const void* g, const void* x, void* y, int64_t n, const double* constants,
                                           bool stream) {
      (is_standard(constants) ? single_backward<Form, Kind, count> : exact_backward<F, Kind, count>)(g, x, y, n, constants,
                                                                                                     stream);
    };
  };
  use(float32, Float32{}, S{});
  use(bfloat16, Bfloat16{}, Brief{});
  return kernel;
}

}  // namespace hillock
