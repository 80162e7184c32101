// Max pooling over channels-last maps, keeping one byte a result: where in its window the largest value stood.
//
// The first of equal values counts and a NaN wins, as in torch. Backward gathers: an input pixel adds up the gradients of
// the windows whose largest value it was, in float32 and in one order, so that overlapping windows need no atomics.
#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "kernel.h"

namespace {

struct BFloat16 { uint16_t bits; };
inline float value(float x) { return x; }
inline float value(BFloat16 x) { return std::bit_cast<float>(uint32_t(x.bits) << 16); }
inline void put(float& to, float x) { to = x; }
inline void put(BFloat16& to, float x) {  // to nearest, ties to even
  const uint32_t word = std::bit_cast<uint32_t>(x);
  const uint32_t rounded = (word + 0x7fff + ((word >> 16) & 1)) >> 16;
  to.bits = uint16_t(x == x ? rounded : (word >> 16) | 0x40);
}

struct Windows {
  int64_t pictures, height, width, channels, side, stride, padding, rows, columns;  // the last two: of the results
};

// Windows along one axis that hold place `at`: first and last.
struct Span { int64_t first, last; };
inline Span windows_over(int64_t at, const Windows& w, int64_t count) {
  const int64_t shifted = at + w.padding - w.side;
  return {shifted < 0 ? 0 : shifted / w.stride + 1, std::min((at + w.padding) / w.stride, count - 1)};
}

template <class T> void forward(const T* x, T* y, uint8_t* where, const Windows& w) {
  hillock::in_parallel(w.pictures * w.rows, [&](int64_t first, int64_t last) {
    const int64_t channels = w.channels;
    std::vector<float> best(channels);
    std::vector<uint8_t> from(channels);
    for (int64_t row = first; row < last; ++row)
      for (int64_t column = 0; column < w.columns; ++column) {
        const T* picture = x + row / w.rows * w.height * w.width * channels;
        const int64_t top = row % w.rows * w.stride - w.padding, left = column * w.stride - w.padding;
        float* __restrict largest = best.data();
        uint8_t* __restrict place = from.data();
        bool fresh = true;
        for (int64_t i = std::max<int64_t>(0, -top); i < std::min(w.side, w.height - top); ++i)
          for (int64_t j = std::max<int64_t>(0, -left); j < std::min(w.side, w.width - left); ++j) {
            const T* __restrict pixel = picture + ((top + i) * w.width + left + j) * channels;
            const uint8_t here = uint8_t(i * w.side + j);
            if (fresh) {
              for (int64_t c = 0; c < channels; ++c) largest[c] = value(pixel[c]), place[c] = here;
              fresh = false;
              continue;
            }
            for (int64_t c = 0; c < channels; ++c) {
              const float v = value(pixel[c]);
              const bool wins = v > largest[c] || v != v;
              largest[c] = wins ? v : largest[c];
              place[c] = wins ? here : place[c];
            }
          }
        const int64_t at = (row * w.columns + column) * channels;
        for (int64_t c = 0; c < channels; ++c) put(y[at + c], largest[c]);
        std::memcpy(where + at, place, channels);
      }
  });
}

template <class T> void backward(const T* dy, const uint8_t* where, T* dx, const Windows& w) {
  hillock::in_parallel(w.pictures * w.height, [&](int64_t first, int64_t last) {
    const int64_t channels = w.channels;
    std::vector<float> sums(channels);
    for (int64_t line = first; line < last; ++line) {
      const int64_t picture = line / w.height, h = line % w.height;
      const Span down = windows_over(h, w, w.rows);
      for (int64_t column = 0; column < w.width; ++column) {
        const Span across = windows_over(column, w, w.columns);
        float* __restrict sum = sums.data();
        std::fill(sums.begin(), sums.end(), 0.0f);
        for (int64_t row = down.first; row <= down.last; ++row)
          for (int64_t at = across.first; at <= across.last; ++at) {
            const uint8_t here = uint8_t((h + w.padding - row * w.stride) * w.side + column + w.padding - at * w.stride);
            const int64_t offset = ((picture * w.rows + row) * w.columns + at) * channels;
            const T* __restrict g = dy + offset;
            const uint8_t* __restrict place = where + offset;
            for (int64_t c = 0; c < channels; ++c) sum[c] += place[c] == here ? value(g[c]) : 0.0f;
          }
        T* __restrict out = dx + (line * w.width + column) * channels;
        for (int64_t c = 0; c < channels; ++c) put(out[c], sum[c]);
      }
    }
  });
}

}  // namespace

extern "C" {

void hillock_max_pool_forward(int bf16, const void* x, void* y, void* where, int64_t pictures, int64_t height, int64_t width,
                              int64_t channels, int64_t side, int64_t stride, int64_t padding, int64_t rows,
                              int64_t columns) {
  const Windows w{pictures, height, width, channels, side, stride, padding, rows, columns};
  if (bf16) forward((const BFloat16*)x, (BFloat16*)y, (uint8_t*)where, w);
  else forward((const float*)x, (float*)y, (uint8_t*)where, w);
}
void hillock_max_pool_backward(int bf16, const void* dy, const void* where, void* dx, int64_t pictures, int64_t height,
                               int64_t width, int64_t channels, int64_t side, int64_t stride, int64_t padding, int64_t rows,
                               int64_t columns) {
  const Windows w{pictures, height, width, channels, side, stride, padding, rows, columns};
  if (bf16) backward((const BFloat16*)dy, (const uint8_t*)where, (BFloat16*)dx, w);
  else backward((const float*)dy, (const uint8_t*)where, (float*)dx, w);
}
}
