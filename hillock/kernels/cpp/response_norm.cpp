// Local response normalisation across neighbouring channels of a channels-last map, with power 3/4:
//
//   b_i = k + alpha * sum of x_j^2 over |i - j| <= half in the same tower
//   y_i = x_i b_i^(-3/4)
//   dx_j = dy_j b_j^(-3/4) - 3/2 alpha x_j * sum of dy_i x_i b_i^(-7/4) over the same window
//
// A pixel's channels lie side by side, so everything between reading x and writing y happens in a few kilobytes of cache.
// Float32 inside; a pixel is computed by one thread, so the result does not depend on their number.
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "kernel.h"
#include "maps.h"

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int64_t kPixels = 64;  // of one task

// 1/sqrt(b). The instruction's 14 bits and one Newton step are within 2^-22 here; a third of the time of root and quotient.
inline Floats inverse_root(Floats b) {
#if defined(__AVX512F__)
  const Floats r = (Floats)_mm512_rsqrt14_ps((__m512)b), better = r * (1.5f - 0.5f * b * r * r);
  return b == kInfinity ? r : better;
#else
  Floats r;
  for (int64_t i = 0; i < kLanes; ++i) r[i] = 1.0f / std::sqrt(b[i]);
  return r;
#endif
}

// b^(-3/4) from r = b^(-1/2): r^(3/2), where the root of r is r / sqrt(r). An infinite sum leaves zeros, not NaN.
inline Floats power(Floats r) {
  const Floats p = r * (r * inverse_root(r));
  return r == 0.0f ? r : p;
}

struct Norm {
  int64_t pixels, channels, towers, half;
  float alpha, k;
  int64_t tower() const { return channels / towers; }
  // A line of floats where every tower lies between `half` zeros, so that windows need no limits. Whole vectors are
  // read and written; what runs over into the next tower's place is written before that tower is.
  int64_t padded() const { return channels + (towers + 1) * half + kLanes; }
  int64_t start(int64_t t) const { return t * (tower() + half) + half; }
};

// Sums over the window around each of the lanes at p.
template <int64_t half> inline Floats window(const float* p, int64_t any_half) {
  const int64_t h = half ? half : any_half;
  Floats sum = load(p);
  for (int64_t i = 1; i <= h; ++i) sum += load(p - i) + load(p + i);
  return sum;
}

template <class T> inline void widen(const T* from, float* to, int64_t channels) {
  int64_t c = 0;
  for (; c + kLanes <= channels; c += kLanes) store(to + c, load(from + c));
  if (c == channels) return;
  T last[kLanes] = {};
  std::memcpy(last, from + c, (channels - c) * sizeof(T));
  store(to + c, load(last));
}
template <class T> inline void narrow(const float* from, T* to, int64_t channels) {
  int64_t c = 0;
  for (; c + kLanes <= channels; c += kLanes) store(to + c, load(from + c));
  if (c == channels) return;
  T last[kLanes];
  store(last, load(from + c));
  std::memcpy(to + c, last, (channels - c) * sizeof(T));
}

// Copies f(lanes at a channel) into the padded line, tower by tower, and restores the zeros between them.
template <class F> inline void spread(const Norm& n, float* padded, F f) {
  for (int64_t t = 0; t < n.towers; ++t) {
    float* to = padded + n.start(t);
    for (int64_t c = 0; c < n.tower(); c += kLanes) store(to + c, f(t * n.tower() + c));
    for (int64_t i = 0; i < n.half; ++i) to[n.tower() + i] = 0.0f;
  }
}
// Calls f(channel, window sum over the padded line) tower by tower.
template <int64_t half, class F> inline void gather(const Norm& n, const float* padded, F f) {
  for (int64_t t = 0; t < n.towers; ++t)
    for (int64_t c = 0; c < n.tower(); c += kLanes)
      f(t * n.tower() + c, window<half>(padded + n.start(t) + c, n.half));
}

template <class Body> void each_pixel(const Norm& n, int lines, Body body) {
  hillock::in_parallel((n.pixels + kPixels - 1) / kPixels, [&](int64_t first, int64_t last) {
    const int64_t length = n.padded() + n.half;
    std::vector<float> scratch(lines * length);
    for (int64_t pixel = first * kPixels; pixel < std::min(last * kPixels, n.pixels); ++pixel)
      body(pixel * n.channels, scratch.data(), length);
  });
}

template <int64_t half, class T> void forward(const Norm& n, const T* x, T* y) {
  each_pixel(n, 3, [&](int64_t at, float* scratch, int64_t length) {
    float *wide = scratch, *squares = wide + length, *out = squares + length;
    widen(x + at, wide, n.channels);
    spread(n, squares, [&](int64_t c) { const Floats v = load(wide + c); return v * v; });
    gather<half>(n, squares, [&](int64_t c, Floats sum) {
      const Floats r = inverse_root(n.k + n.alpha * sum);
      store(out + c, load(wide + c) * power(r));
    });
    narrow(out, y + at, n.channels);
  });
}

template <int64_t half, class T> void backward(const Norm& n, const T* x, const T* dy, T* dx) {
  each_pixel(n, 6, [&](int64_t at, float* scratch, int64_t length) {
    float *wide = scratch, *squares = wide + length, *gradient = squares + length;
    float *direct = gradient + length, *through = direct + length, *terms = through + length;
    widen(x + at, wide, n.channels);
    widen(dy + at, gradient, n.channels);
    spread(n, squares, [&](int64_t c) { const Floats v = load(wide + c); return v * v; });
    gather<half>(n, squares, [&](int64_t c, Floats sum) {
      const Floats r = inverse_root(n.k + n.alpha * sum), d = load(gradient + c) * power(r);
      store(direct + c, d);
      store(through + c, d * load(wide + c) * r * r);
    });
    spread(n, terms, [&](int64_t c) { return load(through + c); });
    gather<half>(n, terms, [&](int64_t c, Floats sum) {
      store(gradient + c, load(direct + c) - 1.5f * n.alpha * load(wide + c) * sum);
    });
    narrow(gradient, dx + at, n.channels);
  });
}

}  // namespace

extern "C" {

void hillock_response_norm_forward(int bf16, const void* x, void* y, int64_t pixels, int64_t channels, int64_t towers,
                                   int64_t half, double alpha, double k) {
  const Norm n{pixels, channels, towers, half, float(alpha), float(k)};
  if (bf16) (half == 2 ? forward<2, BFloat16> : forward<0, BFloat16>)(n, (const BFloat16*)x, (BFloat16*)y);
  else (half == 2 ? forward<2, float> : forward<0, float>)(n, (const float*)x, (float*)y);
}
void hillock_response_norm_backward(int bf16, const void* x, const void* dy, void* dx, int64_t pixels, int64_t channels,
                                    int64_t towers, int64_t half, double alpha, double k) {
  const Norm n{pixels, channels, towers, half, float(alpha), float(k)};
  if (bf16)
    (half == 2 ? backward<2, BFloat16> : backward<0, BFloat16>)(n, (const BFloat16*)x, (const BFloat16*)dy, (BFloat16*)dx);
  else (half == 2 ? backward<2, float> : backward<0, float>)(n, (const float*)x, (const float*)dy, (float*)dx);
}
}
