// The loop over blocks: how a table's shapes (faithful.h) are spread over memory. Which arithmetic a lane gets is decided
// by its value alone, so nothing here changes a result: tests/kernels/test_invariance.py checks that over lengths,
// offsets, layouts, threads and sizes beyond the caches, and build.kernels_version leaves this file out.
#pragma once

#include "faithful.h"
#include "lines.h"

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

  int count() const {
    int flagged = 0;
    for (int v = 0; v < block / width; ++v) flagged += __builtin_popcount(lanes[v]);
    return flagged;
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

// Puts right the flagged lanes of y, which the table does not reach, and returns how many they are. Few are gathered
// vector by flagged vector; many: all lanes are computed.
template <class F, class Shape, class Kind, int constants_count, bool is_backward, class Storage>
__attribute__((noinline)) int repair(const Flags& flags, const Storage* g, const Storage* x, Storage* y, int vectors,
                                     const double* constants) {
  using Tail = typename Shape::Tail;
  using At = Memory<Kind>;
  alignas(64) float xs[block + width], gs[block + width], ys[block + width];
  const int n = flags.count();
  if (n > vectors * width / 3) {
    if constexpr (std::is_same_v<Kind, Float32>) {
      compute_tail<F, Tail, constants_count, is_backward>(g, x, ys, vectors, constants);
    } else {
      for (int v = 0; v < vectors; ++v) {
        _mm512_store_ps(xs + v * width, At::load(x + v * width));
        if (is_backward) _mm512_store_ps(gs + v * width, At::load(g + v * width));
      }
      compute_tail<F, Tail, constants_count, is_backward>(gs, xs, ys, vectors, constants);
    }
    for (int v = 0; v < vectors; ++v) At::store(y + v * width, flags.lanes[v], _mm512_load_ps(ys + v * width));
    return n;
  }
  int k = 0;
  flags.each([&](int v) __attribute__((always_inline)) {
    const Lanes lanes = flags.lanes[v];
    _mm512_storeu_ps(xs + k, _mm512_maskz_compress_ps(lanes, At::load(x + v * width)));
    if (is_backward) _mm512_storeu_ps(gs + k, _mm512_maskz_compress_ps(lanes, At::load(g + v * width)));
    k += __builtin_popcount(lanes);
  });
  for (; k % width; ++k) xs[k] = gs[k] = 8.0f;  // whole vectors
  compute_tail<F, Tail, constants_count, is_backward>(gs, xs, ys, k / width, constants);
  k = 0;
  flags.each([&](int v) __attribute__((always_inline)) {
    const Lanes lanes = flags.lanes[v];
    At::store(y + v * width, lanes, _mm512_maskz_expand_ps(lanes, _mm512_loadu_ps(ys + k)));
    k += __builtin_popcount(lanes);
  });
  return n;
}

// A block that is finished and still has to be written past the caches.
template <class Storage>
struct Finished {
  const Storage* from = nullptr;
  Storage* to = nullptr;
};

// One block: `vectors` whole vectors; y does not overlap x or g. between(v) is called after each vector. beyond: whether
// all of the block before lay beyond the table; this one's lanes are then looked at first, and the table is spared if all
// of them do, too.
template <class F, class Shape, class Kind, int constants_count, bool is_backward, class Storage, class Call>
HILLOCK_INLINE void one_block(const Storage* g, const Storage* x, Storage* y, int vectors, const double* constants,
                              bool& beyond, Call between) {
  using At = Memory<Kind>;
  Flags flags;
  if (vectors < block / width) std::memset(&flags, 0, sizeof flags);
  if (beyond) {
    for (int v = 0; v < vectors; ++v) flags.lanes[v] = Shape::rare(At::load(x + v * width));
    beyond = flags.count() == vectors * width;
  }
  if (beyond) {
    for (int v = 0; v < vectors; ++v) between(v);
    repair<F, Shape, Kind, constants_count, is_backward>(flags, g, x, y, vectors, constants);
    return;
  }
#pragma GCC unroll 2
  for (int v = 0; v < vectors; ++v) {
    const Vector at = At::load(x + v * width);
    if constexpr (is_backward) At::store(y + v * width, Shape::backward(At::load(g + v * width), at));
    else At::store(y + v * width, Shape::forward(at));
    flags.lanes[v] = Shape::rare(at);
    between(v);
  }
  beyond = flags.any() && repair<F, Shape, Kind, constants_count, is_backward>(flags, g, x, y, vectors, constants) ==
                              vectors * width;
}

// Results larger than the caches, `blocks` whole blocks with y aligned to cache lines: a block is finished in one of two
// buffers and written, line by line, between the computations of the next, as are the requests for what comes after it.
// So reading, computing and writing overlap.
template <class F, class Shape, class Kind, int constants_count, bool is_backward, class Storage>
void flow(const Storage* g, const Storage* x, Storage* y, int64_t blocks, const double* constants) {
  alignas(64) Storage ys[2][block];
  Finished<Storage> before;
  bool beyond = false;
  for (int64_t i = 0; i < blocks; ++i, x += block, g += is_backward ? block : 0, y += block) {
    Storage* const now = ys[i % 2];
    const auto between = [&](int v) __attribute__((always_inline)) {
      read_ahead(x + v * width);
      if constexpr (is_backward) read_ahead(g + v * width);
      if (before.from) Memory<Kind>::stream(before.to + v * width, before.from + v * width);
    };
    one_block<F, Shape, Kind, constants_count, is_backward>(g, x, now, block / width, constants, beyond, between);
    before = {now, y};
  }
  for (int k = 0; before.from && k < block; k += width) Memory<Kind>::stream(before.to + k, before.from + k);
  _mm_sfence();
}

template <class F, class Shape, class Kind, int constants_count, bool is_backward>
void run_blocks(const void* gradient, const void* from, void* to, int64_t count, const double* constants, bool stream) {
  using Storage = typename Kind::Storage;
  const auto* g = static_cast<const Storage*>(gradient);
  const auto* x = static_cast<const Storage*>(from);
  auto* y = static_cast<Storage*>(to);
  const bool apart = to != from && to != gradient;
  const Storage one = Kind::store(1.0);
  bool beyond = false;
  alignas(64) Storage xs[block], gs[block], ys[block];
  const auto run = [&](int64_t first, int64_t last) {  // through the caches
    for (int64_t i = first; i < last; i += block) {
      const int n = int(last - i < block ? last - i : block);
      const int vectors = (n + width - 1) / width;
      const bool whole = n % width == 0;
      const Storage *x_block = x + i, *g_block = is_backward ? g + i : nullptr;
      if (!whole) {  // the last vector is filled up
        std::memcpy(xs, x_block, n * sizeof(Storage));
        if (is_backward) std::memcpy(gs, g_block, n * sizeof(Storage));
        for (int k = n; k < vectors * width; ++k) xs[k] = gs[k] = one;
        x_block = xs;
        g_block = gs;
      }
      Storage* y_block = whole && apart ? y + i : ys;
      const auto between = [&](int v) __attribute__((always_inline)) {
        read_ahead(x + i + v * width);
        if constexpr (is_backward) read_ahead(g + i + v * width);
        write_ahead(y + i + v * width);
      };
      one_block<F, Shape, Kind, constants_count, is_backward>(g_block, x_block, y_block, vectors, constants, beyond, between);
      if (y_block == ys) std::memcpy(y + i, ys, n * sizeof(Storage));
    }
  };
  int64_t done = 0;
  if (stream && apart) {
    const int64_t head = std::min(count, to_next_line(y));
    const int64_t blocks = (count - head) / block;
    run(0, head);
    flow<F, Shape, Kind, constants_count, is_backward>(is_backward ? g + head : g, x + head, y + head, blocks, constants);
    done = head + blocks * block;
  }
  run(done, count);
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
  use_tables<F, typename ForwardShape::Brief, typename BackwardShape::Brief, Bfloat16, count, is_standard>(kernel,
                                                                                                           bfloat16);
  use_tables<F, ForwardShape, BackwardShape, Float16, count, is_standard>(kernel, float16);
  return kernel;
}

}  // namespace hillock
#endif
