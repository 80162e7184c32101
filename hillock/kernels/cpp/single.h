// Functions of a few operations, in float32 without tables: what a rounding would lose is carried along as a second
// number, so each result has one final rounding (error below 0.6 ULP). The compiler vectorises the loops anywhere.
#pragma once

#include "blocks.h"

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
inline constexpr Split sixth = split(1.0L / 6), fifth = split(1.0L / 5);

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
struct HardsigmoidKeras {
  static float forward(float x, const Split*) {
    x = at_most(at_least(x, -2.5f), 2.5f);
    const float t = x + 2.5f;
    return fma(t, fifth.high, fma(t, fifth.low, (x - (t - 2.5f)) * fifth.high));
  }
  static float backward(float g, float x, const Split*) {
    return nan_through(x, (x > -2.5f) & (x < 2.5f) ? times(g, fifth) : g * 0.0f);
  }
};
struct Hardsigmoid {
  static float forward(float x, const Split*) {
    x = at_most(at_least(x, -3.0f), 3.0f);
    const float t = x + 3.0f;
    return fma(t, sixth.high, fma(t, sixth.low, (x - (t - 3.0f)) * sixth.high));
  }
  static float backward(float g, float x, const Split*) {
    return nan_through(x, (x > -3.0f) & (x < 3.0f) ? times(g, sixth) : g * 0.0f);
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

// Calls compute(first, count, where to) over 0 ... n; results larger than the caches go past them through a small block.
template <class Storage, class Call>
inline void in_blocks(Storage* y, int64_t n, [[maybe_unused]] bool stream, Call compute) {
#ifdef HILLOCK_TABLES
  if constexpr (std::is_same_v<Storage, float>) {
    if (stream) {
      alignas(64) float ys[block];
      for (int64_t i = 0; i < n; i += block) {
        const int count = int(n - i < block ? n - i : block);
        compute(i, count, &ys[0]);
        write_past_caches(ys, y + i, count);
      }
      _mm_sfence();
      return;
    }
  }
#endif
  compute(0, n, y);
}

template <class S, class Kind, int count>
__attribute__((flatten)) void single_forward(const void* from, void* to, int64_t n, const double* constants, bool stream) {
  const auto* x = static_cast<const typename Kind::Storage*>(from);
  Split c[most_constants] = {};
  for (int k = 0; k < count; ++k) c[k] = split(constants[k]);
  in_blocks(static_cast<typename Kind::Storage*>(to), n, stream, [&](int64_t first, int64_t size, auto* y) {
    const auto* at = x + first;
#pragma GCC ivdep
    for (int64_t i = 0; i < size; ++i) y[i] = from_single<Kind>(S::forward(float(Kind::load(at[i])), c));
  });
}

template <class S, class Kind, int count>
__attribute__((flatten)) void single_backward(const void* gradient, const void* from, void* to, int64_t n, const double* constants, bool stream) {
  const auto* g = static_cast<const typename Kind::Storage*>(gradient);
  const auto* x = static_cast<const typename Kind::Storage*>(from);
  Split c[most_constants] = {};
  for (int k = 0; k < count; ++k) c[k] = split(constants[k]);
  in_blocks(static_cast<typename Kind::Storage*>(to), n, stream, [&](int64_t first, int64_t size, auto* y) {
    const auto *at = x + first, *w = g + first;
#pragma GCC ivdep
    for (int64_t i = 0; i < size; ++i)
      y[i] = from_single<Kind>(S::backward(float(Kind::load(w[i])), float(Kind::load(at[i])), c));
  });
}

// The kernels of a function whose `faithful` form is S; constants that are no float32 may take the float64 path.
template <class F, class S, int count = 0, auto is_standard = [](const double*) { return true; }>
Kernel single_kernel(const char* name, const char* parameters = "", bool bits = false) {
  Kernel kernel = exact_kernel<F, count>(name, parameters, bits);
  kernel.single = true;
  const auto use = [&]<class Kind>(Format format, Kind) {
    kernel.forward[format][faithful] = [](const void* x, void* y, int64_t n, const double* constants, bool stream) {
      (is_standard(constants) ? single_forward<S, Kind, count> : exact_forward<F, Kind, count>)(x, y, n, constants, stream);
    };
    kernel.backward[format][faithful] = [](const void* g, const void* x, void* y, int64_t n, const double* constants,
                                           bool stream) {
      (is_standard(constants) ? single_backward<S, Kind, count> : exact_backward<F, Kind, count>)(g, x, y, n, constants,
                                                                                                  stream);
    };
  };
  use(float32, Float32{});
  use(bfloat16, Bfloat16{});
  return kernel;
}

}  // namespace hillock
