// Sixteen elements of a float32 or bfloat16 map as a vector of float32.
#pragma once

#include <cstdint>
#include <cstring>

namespace {

constexpr int64_t kLanes = 16;

typedef float Floats __attribute__((vector_size(4 * kLanes)));
typedef uint32_t Words __attribute__((vector_size(4 * kLanes)));
typedef uint16_t Halves __attribute__((vector_size(2 * kLanes)));

struct BFloat16 { uint16_t bits; };

template <class V> inline V fetch(const void* p) { V v; std::memcpy(&v, p, sizeof v); return v; }
inline Floats load(const float* p) { return fetch<Floats>(p); }
inline Floats load(const BFloat16* p) { return (Floats)(__builtin_convertvector(fetch<Halves>(p), Words) << 16); }
inline void store(float* p, Floats v) { std::memcpy(p, &v, sizeof v); }
inline void store(BFloat16* p, Floats v) {  // to nearest, ties to even
  const Words w = (Words)v, rounded = (w + 0x7fff + ((w >> 16) & 1)) >> 16;
  const Halves h = __builtin_convertvector((v == v) ? rounded : ((w >> 16) | 0x40), Halves);
  std::memcpy(p, &h, sizeof h);
}

}  // namespace
