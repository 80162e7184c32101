// Max pooling over channels-last maps, keeping one byte a result: where in its window the largest value stood.
//
// The first of equal values counts and a NaN wins, as in torch. Backward gathers: an input pixel adds up the gradients of
// the windows whose largest value it was, in float32 and in one order, so that overlapping windows need no atomics.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "kernel.h"
#include "maps.h"

namespace {

typedef int32_t Ints __attribute__((vector_size(4 * kLanes)));
typedef uint8_t Bytes __attribute__((vector_size(kLanes)));

// Calls body(first channel, number of channels) for every group of lanes; the last one may be short.
template <class Body> inline void each_group(int64_t channels, Body body) {
  int64_t c = 0;
  for (; c + kLanes <= channels; c += kLanes) body(c, kLanes);
  if (c < channels) body(c, channels - c);
}
// A short group goes through a padded copy; `n` is known at compile time in the whole ones.
template <class T> inline Floats load(const T* p, int64_t n) {
  if (n == kLanes) return load(p);
  T padded[kLanes] = {};
  std::memcpy(padded, p, n * sizeof(T));
  return load(padded);
}
template <class T> inline void store(T* p, Floats v, int64_t n) {
  if (n == kLanes) return store(p, v);
  T padded[kLanes];
  store(padded, v);
  std::memcpy(p, padded, n * sizeof(T));
}
inline Ints load_places(const uint8_t* p, int64_t n) {
  uint8_t padded[kLanes] = {};
  if (n < kLanes) std::memcpy(padded, p, n), p = padded;
  return __builtin_convertvector(fetch<Bytes>(p), Ints);
}
inline void store_places(uint8_t* p, Ints v, int64_t n) {
  const Bytes bytes = __builtin_convertvector(v, Bytes);
  std::memcpy(p, &bytes, n);
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
    for (int64_t row = first; row < last; ++row) {
      const T* picture = x + row / w.rows * w.height * w.width * w.channels;
      const int64_t top = row % w.rows * w.stride - w.padding;
      const int64_t up = std::max<int64_t>(0, -top), down = std::min(w.side, w.height - top);
      for (int64_t column = 0; column < w.columns; ++column) {
        const int64_t start = column * w.stride - w.padding, at = (row * w.columns + column) * w.channels;
        const int64_t left = std::max<int64_t>(0, -start), right = std::min(w.side, w.width - start);
        each_group(w.channels, [&](int64_t c, int64_t n) {
          Floats largest = Floats{} - std::numeric_limits<float>::infinity();
          Ints place = Ints{} + int32_t(up * w.side + left);
          for (int64_t i = up; i < down; ++i)
            for (int64_t j = left; j < right; ++j) {
              const Floats v = load(picture + ((top + i) * w.width + start + j) * w.channels + c, n);
              const Ints wins = (v > largest) | (v != v);
              largest = wins ? v : largest;
              place = wins ? Ints{} + int32_t(i * w.side + j) : place;
            }
          store(y + at + c, largest, n);
          store_places(where + at + c, place, n);
        });
      }
    }
  });
}

// Windows that do not overlap: a gradient goes to one pixel as it is.
template <class Bits> void backward_apart(const Bits* dy, const uint8_t* where, Bits* dx, const Windows& w) {
  hillock::in_parallel(w.pictures * w.height, [&](int64_t first, int64_t last) {
    for (int64_t line = first; line < last; ++line) {
      const int64_t picture = line / w.height, h = line % w.height;
      const Span down = windows_over(h, w, w.rows);
      for (int64_t column = 0; column < w.width; ++column) {
        const Span across = windows_over(column, w, w.columns);
        Bits* __restrict out = dx + (line * w.width + column) * w.channels;
        if (down.first > down.last || across.first > across.last) {
          std::memset(out, 0, w.channels * sizeof(Bits));
          continue;
        }
        const int64_t row = down.first, at = across.first, channels = w.channels;
        const uint8_t here = uint8_t((h + w.padding - row * w.stride) * w.side + column + w.padding - at * w.stride);
        const int64_t offset = ((picture * w.rows + row) * w.columns + at) * channels;
        const Bits* __restrict g = dy + offset;
        const uint8_t* __restrict place = where + offset;
        for (int64_t c = 0; c < channels; ++c) out[c] = g[c] & Bits(-Bits(place[c] == here));
      }
    }
  });
}

template <class T> void backward(const T* dy, const uint8_t* where, T* dx, const Windows& w) {
  using Bits = std::conditional_t<sizeof(T) == 2, uint16_t, uint32_t>;
  if (w.side <= w.stride) return backward_apart((const Bits*)dy, where, (Bits*)dx, w);
  hillock::in_parallel(w.pictures * w.height, [&](int64_t first, int64_t last) {
    for (int64_t line = first; line < last; ++line) {
      const int64_t picture = line / w.height, h = line % w.height;
      const Span down = windows_over(h, w, w.rows);
      for (int64_t column = 0; column < w.width; ++column) {
        const Span across = windows_over(column, w, w.columns);
        each_group(w.channels, [&](int64_t c, int64_t n) {
          Floats sum = {};
          for (int64_t row = down.first; row <= down.last; ++row)
            for (int64_t at = across.first; at <= across.last; ++at) {
              const int64_t here = (h + w.padding - row * w.stride) * w.side + column + w.padding - at * w.stride;
              const int64_t offset = ((picture * w.rows + row) * w.columns + at) * w.channels + c;
              const Ints mine = load_places(where + offset, n) == int32_t(here);
              sum += mine ? load(dy + offset, n) : Floats{};
            }
          store(dx + (line * w.width + column) * w.channels + c, sum, n);
        });
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
