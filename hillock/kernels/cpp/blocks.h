// The loop over blocks: how a table's shapes (faithful.h) are spread over memory. Which arithmetic a lane gets is decided
// by its value alone, so nothing here changes a result: tests/kernels/test_invariance.py checks that over lengths,
// offsets, layouts, threads and sizes beyond the caches, and build.kernels_version leaves this file out.
#pragma once

#include "faithful.h"

#ifdef HILLOCK_TABLES

namespace hillock {

struct Flags {
  alignas(64) Lanes lanes[block / width];

  bool any() const {
    __m512i all_flags = _mm512_setzero_si512();
    for (int group = 0; group < block / width; group += 32)
      all_flags = _mm512_or_si512(all_flags, _mm512_load_si512(lanes + group));
    return _mm512_test_epi32_mask(all_flags, all_flags) != 0;
  }

  // Calls f(vector) for every vector that has a flagged lane.
  template <class Call>
  HILLOCK_INLINE void each(Call f) const {
    for (int group = 0; group < block / width; group += 32) {
      const __m512i flags = _mm512_load_si512(lanes + group);
      for (uint32_t some = _mm512_test_epi16_mask(flags, flags); some; some &= some - 1)
        f(group + __builtin_ctz(some));
    }
  }
};

// Puts right the flagged lanes of y, which the table does not reach. Few are gathered vector by flagged vector, more by
// going over all vectors without a branch; many: all lanes are computed.
template <class F, class Shape, class Kind, int constants_count, bool is_backward, class Storage>
__attribute__((noinline)) void repair(const Flags& flags, const Storage* g, const Storage* x, Storage* y, int vectors,
                                      const double* constants) {
  using Tail = typename Shape::Tail;
  using At = Memory<Kind>;
  alignas(64) float xs[block + width], gs[block + width], ys[block + width];
  int n = 0;
  for (int v = 0; v < vectors; ++v) n += __builtin_popcount(flags.lanes[v]);
  if (n > vectors * width / 3) {
    for (int v = 0; v < vectors; ++v) {
      _mm512_store_ps(xs + v * width, At::load(x + v * width));
      if (is_backward) _mm512_store_ps(gs + v * width, At::load(g + v * width));
    }
    compute_tail<F, Tail, constants_count, is_backward>(gs, xs, ys, vectors, constants);
    for (int v = 0; v < vectors; ++v) At::store(y + v * width, flags.lanes[v], _mm512_load_ps(ys + v * width));
    return;
  }
  const auto each = [&](auto call) __attribute__((always_inline)) {
    if (n > vectors / 2) for (int v = 0; v < vectors; ++v) call(v);
    else flags.each(call);
  };
  int k = 0;
  each([&](int v) __attribute__((always_inline)) {
    const Lanes lanes = flags.lanes[v];
    _mm512_storeu_ps(xs + k, _mm512_maskz_compress_ps(lanes, At::load(x + v * width)));
    if (is_backward) _mm512_storeu_ps(gs + k, _mm512_maskz_compress_ps(lanes, At::load(g + v * width)));
    k += __builtin_popcount(lanes);
  });
  for (; k % width; ++k) xs[k] = gs[k] = 8.0f;  // whole vectors
  compute_tail<F, Tail, constants_count, is_backward>(gs, xs, ys, k / width, constants);
  k = 0;
  each([&](int v) __attribute__((always_inline)) {
    const Lanes lanes = flags.lanes[v];
    At::store(y + v * width, lanes, _mm512_maskz_expand_ps(lanes, _mm512_loadu_ps(ys + k)));
    k += __builtin_popcount(lanes);
  });
}

// One block: `vectors` whole vectors; y does not overlap x or g. Returns whether lanes had to be repaired.
// past_caches: float32 from memory to memory, y aligned to cache lines. Reading ahead and writing line by line between the
// computations lets all three overlap.
template <class F, class Shape, class Kind, int constants_count, bool is_backward, bool past_caches, class Storage>
HILLOCK_INLINE bool one_block(const Storage* g, const Storage* x, Storage* y, int vectors, const double* constants) {
  using At = Memory<Kind>;
  constexpr int ahead = 512;  // elements, 2 KiB: longer than memory's latency, short enough to stay in the first cache
  Flags flags;
  if (vectors < block / width) std::memset(&flags, 0, sizeof flags);
#pragma GCC unroll 2
  for (int v = 0; v < vectors; ++v) {
    const Vector at = At::load(x + v * width);
    Vector result;
    if constexpr (is_backward) result = Shape::backward(At::load(g + v * width), at);
    else result = Shape::forward(at);
    if constexpr (past_caches) {
      _mm_prefetch(reinterpret_cast<const char*>(x + v * width + ahead), _MM_HINT_T0);
      if constexpr (is_backward) _mm_prefetch(reinterpret_cast<const char*>(g + v * width + ahead), _MM_HINT_T0);
      _mm512_stream_ps(y + v * width, result);
    } else {
      At::store(y + v * width, result);
    }
    flags.lanes[v] = Shape::rare(at);
  }
  if (!flags.any()) return false;
  repair<F, Shape, Kind, constants_count, is_backward>(flags, g, x, y, vectors, constants);
  return true;
}

inline void write_past_caches(const float* from, float* to, int count) {
  int i = 0;
  for (; i < count && (reinterpret_cast<uintptr_t>(to + i) & 63); ++i) to[i] = from[i];
  for (; i + width <= count; i += width) _mm512_stream_ps(to + i, _mm512_loadu_ps(from + i));
  for (; i < count; ++i) to[i] = from[i];
}

template <class F, class Shape, class Kind, int constants_count, bool is_backward>
void run_blocks(const void* gradient, const void* from, void* to, int64_t count, const double* constants, bool stream) {
  using Storage = typename Kind::Storage;
  const auto* g = static_cast<const Storage*>(gradient);
  const auto* x = static_cast<const Storage*>(from);
  auto* y = static_cast<Storage*>(to);
  if constexpr (!std::is_same_v<Kind, Float32>) stream = false;
  const bool apart = to != from && to != gradient;
  const bool lines = stream && apart && reinterpret_cast<uintptr_t>(to) % 64 == 0;
  bool has_repairs = false;  // in the block before: where there are some, results are finished in the caches
  const Storage one = Kind::store(1.0);
  alignas(64) Storage xs[block], gs[block], ys[block];
  for (int64_t i = 0; i < count; i += block) {
    const int n = int(count - i < block ? count - i : block);
    const int vectors = (n + width - 1) / width;
    const bool whole = n % width == 0;
    const Storage *x_block = x + i, *g_block = is_backward ? g + i : nullptr;
    if (!whole) {  // the last vector is filled up
      std::memcpy(xs, x_block, n * sizeof(Storage));
      if (is_backward) std::memcpy(gs, g_block, n * sizeof(Storage));
      for (int k = n; k < vectors * width; ++k) xs[k] = gs[k] = one;
      x_block = xs;
      g_block = gs;
    } else if (stream) {
      if constexpr (std::is_same_v<Kind, Float32>) {
        if (lines && !has_repairs) {
          has_repairs =
              one_block<F, Shape, Kind, constants_count, is_backward, true>(g_block, x_block, y + i, vectors, constants);
          continue;
        }
      }
      for (int k = 0; k < n; k += width) {  // the block after this one
        _mm_prefetch(reinterpret_cast<const char*>(x + i + block + k), _MM_HINT_T0);
        if (is_backward) _mm_prefetch(reinterpret_cast<const char*>(g + i + block + k), _MM_HINT_T0);
      }
    }
    Storage* y_block = whole && apart && !stream ? y + i : ys;
    has_repairs =
        one_block<F, Shape, Kind, constants_count, is_backward, false>(g_block, x_block, y_block, vectors, constants);
    if (y_block != ys) continue;
    if constexpr (std::is_same_v<Kind, Float32>) {
      if (stream) {
        write_past_caches(ys, y + i, n);
        continue;
      }
    }
    std::memcpy(y + i, ys, n * sizeof(Storage));
  }
  if (stream) _mm_sfence();
}

template <class F, class Shape, class Kind, int constants_count>
void table_forward(const void* x, void* y, int64_t count, const double* constants, bool stream) {
  run_blocks<F, Shape, Kind, constants_count, false>(nullptr, x, y, count, constants, stream);
}
template <class F, class Shape, class Kind, int constants_count>
void table_backward(const void* g, const void* x, void* y, int64_t count, const double* constants, bool stream) {
  run_blocks<F, Shape, Kind, constants_count, true>(g, x, y, count, constants, stream);
}

// Tables hold for one setting of the constants; other settings take the float64 path.
template <class F, Forward table, class Kind, int count, auto is_standard>
void forward_if_standard(const void* x, void* y, int64_t n, const double* constants, bool stream) {
  (is_standard(constants) ? table : exact_forward<F, Kind, count>)(x, y, n, constants, stream);
}
template <class F, Backward table, class Kind, int count, auto is_standard>
void backward_if_standard(const void* g, const void* x, void* y, int64_t n, const double* constants, bool stream) {
  (is_standard(constants) ? table : exact_backward<F, Kind, count>)(g, x, y, n, constants, stream);
}

template <class F, class ForwardShape, class BackwardShape, class Kind, int count, auto is_standard>
void use_tables(Kernel& kernel, Format format) {
  kernel.forward[format][faithful] =
      forward_if_standard<F, table_forward<F, ForwardShape, Kind, count>, Kind, count, is_standard>;
  kernel.backward[format][faithful] =
      backward_if_standard<F, table_backward<F, BackwardShape, Kind, count>, Kind, count, is_standard>;
}

// The kernels of a function: tables for `faithful` in float32 and the 16-bit formats, the float64 path for the rest.
template <class F, class ForwardShape, class BackwardShape, int count = 0,
          auto is_standard = [](const double*) { return true; }>
Kernel table_kernel(const char* name, const char* parameters = "") {
  Kernel kernel = exact_kernel<F, count>(name, parameters);
  kernel.tables = true;
  use_tables<F, ForwardShape, BackwardShape, Float32, count, is_standard>(kernel, float32);
  use_tables<F, ForwardShape, BackwardShape, Bfloat16, count, is_standard>(kernel, bfloat16);
  use_tables<F, ForwardShape, BackwardShape, Float16, count, is_standard>(kernel, float16);
  return kernel;
}

}  // namespace hillock
#endif
