// The float64 path: load, widen to double, one formula, round once. It is `exact` everywhere and also `faithful`
// where a function has no table or the machine no AVX512. The loops are left to the compiler to vectorise.
#pragma once

#include <cstring>

#include "functions.h"
#include "kernel.h"

namespace hillock {

inline constexpr int most_constants = 4;

// Round a double once, to nearest even, to 24, 11 or 8 bits: adding and subtracting 1.5·2^(e+s) leaves the wanted bits.
template <int shift, int least_exponent>
inline double rounded(double d) {
  const int64_t bits = std::bit_cast<int64_t>(d);
  int64_t exponent = (bits >> 52) & 0x7ff;
  exponent = exponent < least_exponent + 1023 ? least_exponent + 1023 : exponent;
  exponent = exponent > 1900 ? 1900 : exponent;
  const double magic = std::bit_cast<double>(((exponent + shift) << 52) | (int64_t(1) << 51));
  const double size = __builtin_fabs(d);
  const double r = size < 0x1p800 ? (size + magic) - magic : size;
  return __builtin_copysign(r, d);
}

struct Float32 {
  using Storage = float;
  using Wide = double;
  static Wide load(Storage x) { return x; }
  static Storage store(Wide y) { return float(y); }
};
struct Bfloat16 {
  using Storage = uint16_t;
  using Wide = double;
  static Wide load(Storage x) { return std::bit_cast<float>(uint32_t(x) << 16); }
  static Storage store(Wide y) {
    const uint32_t bits = std::bit_cast<uint32_t>(float(rounded<45, -126>(y)));
    return uint16_t((bits >> 16) | (y != y ? 0x40u : 0u));
  }
};
struct Float16 {
  using Storage = uint16_t;
  using Wide = double;
  static Wide load(Storage x) {
    const uint32_t sign = uint32_t(x & 0x8000u) << 16, size = x & 0x7fffu;
    const float normal = std::bit_cast<float>((size << 13) + (112u << 23));
    const float small = float(int32_t(size)) * 0x1p-24f;
    const float special = std::bit_cast<float>((size << 13) + (224u << 23));
    const float value = size < 0x400u ? small : size >= 0x7c00u ? special : normal;
    return std::bit_cast<float>(std::bit_cast<uint32_t>(value) | sign);
  }
  static Storage store(Wide y) {
    const float r = float(rounded<42, -14>(y));
    const uint32_t bits = std::bit_cast<uint32_t>(r), size = bits & 0x7fffffffu;
    const float magnitude = std::bit_cast<float>(size);
    const uint32_t small = uint32_t(int32_t((magnitude < 1.0f ? magnitude : 0.0f) * 0x1p24f));
    uint32_t half = magnitude < 0x1p-14f ? small : (size - (112u << 23)) >> 13;
    half = magnitude >= 65536.0f ? 0x7c00u : half;
    half = r != r ? 0x7e00u : half;
    return uint16_t(half | ((bits >> 16) & 0x8000u));
  }
};
struct Float64 {
  using Storage = double;
  using Wide = long double;
  static Wide load(Storage x) { return x; }
  static Storage store(Wide y) { return double(y); }
};

template <class T>
struct Constants {
  T value[most_constants];
  explicit Constants(const double* from, int count) {
    for (int k = 0; k < most_constants; ++k) value[k] = k < count ? T(from[k]) : T(0);
  }
};

// (flatten: a call inside the loop would keep it from being vectorised.)
template <class F, class Kind, int count>
__attribute__((flatten)) void exact_forward(const void* from, void* to, int64_t n, const double* constants, bool) {
  using T = typename Kind::Wide;
  const auto* x = static_cast<const typename Kind::Storage*>(from);
  auto* y = static_cast<typename Kind::Storage*>(to);
  const Constants<T> constant(constants, count);
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) y[i] = Kind::store(F::template value<T>(Kind::load(x[i]), constant.value));
}

template <class F, class Kind, int count>
__attribute__((flatten)) void exact_backward(const void* gradient, const void* from, void* to, int64_t n, const double* constants, bool) {
  using T = typename Kind::Wide;
  const auto* g = static_cast<const typename Kind::Storage*>(gradient);
  const auto* x = static_cast<const typename Kind::Storage*>(from);
  auto* y = static_cast<typename Kind::Storage*>(to);
  const Constants<T> constant(constants, count);
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i)
    y[i] = Kind::store(Kind::load(g[i]) * F::template slope<T>(Kind::load(x[i]), constant.value));
}

// The kernels of one function, all through the float64 path.
template <class F, int count = 0>
Kernel exact_kernel(const char* name, const char* parameters = "", bool bits = false) {
  Kernel kernel{name, parameters, bits, false, false, {}, {}};
  for (int precision = 0; precision < precisions; ++precision) {
    kernel.forward[float32][precision] = exact_forward<F, Float32, count>;
    kernel.forward[bfloat16][precision] = exact_forward<F, Bfloat16, count>;
    kernel.forward[float16][precision] = exact_forward<F, Float16, count>;
    kernel.forward[float64][precision] = exact_forward<F, Float64, count>;
    kernel.backward[float32][precision] = exact_backward<F, Float32, count>;
    kernel.backward[bfloat16][precision] = exact_backward<F, Bfloat16, count>;
    kernel.backward[float16][precision] = exact_backward<F, Float16, count>;
    kernel.backward[float64][precision] = exact_backward<F, Float64, count>;
  }
  return kernel;
}

}  // namespace hillock
