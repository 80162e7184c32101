// The `faithful` float32 path on AVX512: no exponential and no division, but a polynomial on one of 32 intervals. Its
// coefficients come from tables by a permutation (one instruction a coefficient); the result is one final rounding of an
// exact number plus a small one, so the error stays below 1 ULP. The values are those of the tables alone: a lane does
// not depend on its neighbours, on alignment or on the length. Lanes outside the table (tails, NaN, infinities) are
// flagged and repaired by the float64 path, a block of 2048 at a time.
#pragma once

#include "exact.h"

#if defined(__AVX512F__) && defined(__AVX512DQ__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#define HILLOCK_TABLES 1
#include <immintrin.h>

#include "generated/tables.h"

namespace hillock {

using Vector = __m512;
using Lanes = __mmask16;
constexpr int width = 16;   // lanes of a vector
constexpr int block = 2048;  // elements that are finished, repairs included, before the next: they stay in the first cache

#define HILLOCK_INLINE __attribute__((always_inline)) inline

HILLOCK_INLINE Vector all(float x) { return _mm512_set1_ps(x); }

struct Pair {  // high + low, |low| a fraction of |high|
  Vector high, low;
};

// G(t) by its table; t must lie in [T::low, T::high], other lanes give rubbish.
template <class T>
HILLOCK_INLINE Pair look_up(Vector t) {
  Vector scale = all(T::scale);
  if constexpr (T::bend != 0.0f) scale = _mm512_fmadd_ps(t, all(T::bend * T::scale), scale);
  const __m512i index = _mm512_castps_si512(_mm512_fmadd_ps(t, scale, all(T::magic)));
  const auto row = [&](int k) __attribute__((always_inline)) {
    return _mm512_permutex2var_ps(_mm512_load_ps(T::rows[k]), index, _mm512_load_ps(T::rows[k] + 16));
  };
  const Vector r = _mm512_sub_ps(t, row(0));
  constexpr int last = 3 + T::slope_remainder + T::terms;
  Vector sum = row(last);
#pragma GCC unroll 12
  for (int k = last - 1; k > 3; --k) sum = _mm512_fmadd_ps(sum, r, row(k));  // B' + r(Q0 + ...) or Q0 + ...
  if constexpr (T::slope_remainder) {
    return {row(1), _mm512_fmadd_ps(r, row(3), _mm512_fmadd_ps(sum, r, row(2)))};
  } else {
    return {row(1), _mm512_fmadd_ps(_mm512_fmadd_ps(sum, r, row(3)), r, row(2))};
  }
}

// 1 - G in the lanes chosen (exact, because the high part is a multiple of 2^-24), G in the others.
HILLOCK_INLINE Pair complement(Pair g, Lanes lanes) {
  return {_mm512_mask_sub_ps(g.high, lanes, all(1.0f), g.high),
          _mm512_mask_sub_ps(g.low, lanes, _mm512_setzero_ps(), g.low)};
}

HILLOCK_INLINE Vector total(Pair p) { return _mm512_add_ps(p.high, p.low); }
HILLOCK_INLINE Vector times(Vector w, Pair p) { return _mm512_fmadd_ps(w, p.high, _mm512_mul_ps(w, p.low)); }
HILLOCK_INLINE Vector size_of(Vector x) { return _mm512_abs_ps(x); }
HILLOCK_INLINE Lanes negative(Vector x) { return _mm512_movepi32_mask(_mm512_castps_si512(x)); }
// The sign of x on a result that has it by nature: an exact zero of a pair would lose the minus of -0.
HILLOCK_INLINE Vector signed_as(Vector x, Vector y) {
  const __m512i sign = _mm512_set1_epi32(int(0x80000000u));
  return _mm512_castsi512_ps(
      _mm512_ternarylogic_epi32(sign, _mm512_castps_si512(x), _mm512_castps_si512(y), 0xca));  // sign ? x : y
}
// Not below, not above: true for NaN as well.
HILLOCK_INLINE Lanes beyond(Vector a, float high) { return _mm512_cmp_ps_mask(a, all(high), _CMP_NLT_UQ); }
HILLOCK_INLINE Lanes below(Vector a, float low) { return _mm512_cmp_ps_mask(a, all(low), _CMP_NGT_UQ); }
HILLOCK_INLINE Lanes from(Vector a, float low) { return _mm512_cmp_ps_mask(a, all(low), _CMP_GE_OQ); }

// ------------------------------------------------------------------------------ shapes that functions are made of
// Each gives forward(x, rare) or backward(g, x, rare), and sets the lanes that need repair.

// G(x) or x G(x) with G known from its tail T: G(x) = T(-x) for x < 0, 1 - T(x) for x >= 0 (reflected: the other way).
template <class T, bool by_x, bool reflected = false>
struct Gate {
  static HILLOCK_INLINE Pair pair(Vector x, Lanes& rare) {
    const Vector a = size_of(x);
    rare = beyond(a, T::high);
    return complement(look_up<T>(a), reflected ? negative(x) : Lanes(~negative(x)));
  }
  static HILLOCK_INLINE Vector forward(Vector x, Lanes& rare) {
    const Pair p = pair(x, rare);
    return by_x ? times(x, p) : total(p);
  }
  static HILLOCK_INLINE Vector backward(Vector g, Vector x, Lanes& rare) { return times(g, pair(x, rare)); }
};

// The same for functions whose table reaches to where the positive side is 1 to the last bit: x or g comes through.
template <class T>
struct GateToOne {
  static HILLOCK_INLINE Vector finish(Vector w, Vector x, Lanes& rare) {
    const Vector a = size_of(x);
    const Lanes passing = from(x, T::one_from);
    rare = Lanes(beyond(a, T::high) & ~passing);
    const Vector y = times(w, complement(look_up<T>(a), Lanes(~negative(x))));
    return _mm512_mask_mov_ps(y, passing, w);
  }
  static HILLOCK_INLINE Vector forward(Vector x, Lanes& rare) { return finish(x, x, rare); }
  static HILLOCK_INLINE Vector backward(Vector g, Vector x, Lanes& rare) { return finish(g, x, rare); }
};

// An even factor G(|x|).
template <class T>
struct Even {
  static HILLOCK_INLINE Vector finish(Vector w, Vector x, Lanes& rare) {
    const Vector a = size_of(x);
    rare = beyond(a, T::high);
    return times(w, look_up<T>(a));
  }
  static HILLOCK_INLINE Vector forward(Vector x, Lanes& rare) { return finish(x, x, rare); }
  static HILLOCK_INLINE Vector backward(Vector g, Vector x, Lanes& rare) { return finish(g, x, rare); }
};

// A factor G(x) on [low, high] that is 1 from `one_from` on.
template <class T>
struct Signed {
  static HILLOCK_INLINE Vector finish(Vector w, Vector x, Lanes& rare) {
    const Lanes passing = from(x, T::one_from);
    rare = Lanes((below(x, T::low) | beyond(x, T::high)) & ~passing);
    return _mm512_mask_mov_ps(times(w, look_up<T>(x)), passing, w);
  }
  static HILLOCK_INLINE Vector forward(Vector x, Lanes& rare) { return signed_as(x, finish(x, x, rare)); }
  static HILLOCK_INLINE Vector backward(Vector g, Vector x, Lanes& rare) { return finish(g, x, rare); }
};

// The value G(x) itself on [low, high].
template <class T>
struct Plain {
  static HILLOCK_INLINE Vector forward(Vector x, Lanes& rare) {
    rare = Lanes(below(x, T::low) | beyond(x, T::high));
    return total(look_up<T>(x));
  }
};

// x G(x) below 0 (value) or g G(x) (slope); above 0 the line with slope `scale_high + scale_low`.
template <class T, bool closed, long double scale = 1.0L>
struct Half {
  static constexpr float scale_high = float(scale), scale_low = float(scale - (long double)(scale_high));
  static HILLOCK_INLINE Vector finish(Vector w, Vector x, Lanes& rare) {
    const Lanes line = closed ? from(x, 0.0f) : _mm512_cmp_ps_mask(x, all(0.0f), _CMP_GT_OQ);
    rare = below(x, T::low);
    const Vector y = times(w, look_up<T>(x));
    if constexpr (scale == 1.0L) return _mm512_mask_mov_ps(y, line, w);
    rare = Lanes(rare | from(x, 0x1p126f));  // a pair of infinities would cancel
    return _mm512_mask_mov_ps(y, line, times(w, {all(scale_high), all(scale_low)}));
  }
  static HILLOCK_INLINE Vector forward(Vector x, Lanes& rare) {
    const Vector y = finish(x, x, rare);
    return scale == 1.0L ? y : signed_as(x, y);
  }
  static HILLOCK_INLINE Vector backward(Vector g, Vector x, Lanes& rare) { return finish(g, x, rare); }
};

// ---------------------------------------------------------------------------------------------- formats, to float32

template <class Kind>
inline void widen(const typename Kind::Storage* from, float* to, int count) {
#pragma GCC ivdep
  for (int i = 0; i < count; ++i) to[i] = float(Kind::load(from[i]));
}
// One rounding to nearest even; NaN stays NaN, and stays quiet.
inline void narrow(const float* from, uint16_t* to, int count, Bfloat16) {
#pragma GCC ivdep
  for (int i = 0; i < count; ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(from[i]);
    const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    to[i] = uint16_t((bits & 0x7fffffffu) > 0x7f800000u ? (bits >> 16) | 0x40u : rounded);
  }
}
inline void narrow(const float* from, uint16_t* to, int count, Float16) {
  int i = 0;
  for (; i + width <= count; i += width)
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i),
                        _mm512_cvtps_ph(_mm512_loadu_ps(from + i), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  for (; i < count; ++i) to[i] = uint16_t(_mm_extract_epi16(_mm_cvtps_ph(_mm_set_ss(from[i]), 0), 0));
}

// ------------------------------------------------------------------------------------------------ the loop over blocks

struct Flags {
  alignas(64) Lanes lanes[block / width];

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

// Puts the float64 path's results into the flagged lanes of y. Few: they are gathered; many: all lanes are computed.
template <class F, int constants_count, bool is_backward>
__attribute__((noinline)) void repair(const Flags& flags, const float* g, const float* x, float* y, int vectors,
                                      const double* constants) {
  alignas(64) float xs[block + width], gs[block + width], ys[block + width];
  const auto compute = [&](const float* g_from, const float* x_from, int count) {
    if constexpr (is_backward) exact_backward<F, Float32, constants_count>(g_from, x_from, ys, count, constants, false);
    else exact_forward<F, Float32, constants_count>(x_from, ys, count, constants, false);
  };
  int n = 0;
  flags.each([&](int v) { n += __builtin_popcount(flags.lanes[v]); });
  if (n > vectors * width / 3) {
    compute(g, x, vectors * width);
    flags.each([&](int v) {
      _mm512_mask_storeu_ps(y + v * width, flags.lanes[v], _mm512_load_ps(ys + v * width));
    });
    return;
  }
  n = 0;
  flags.each([&](int v) {
    const Lanes lanes = flags.lanes[v];
    _mm512_storeu_ps(xs + n, _mm512_maskz_compress_ps(lanes, _mm512_loadu_ps(x + v * width)));
    if (is_backward) _mm512_storeu_ps(gs + n, _mm512_maskz_compress_ps(lanes, _mm512_loadu_ps(g + v * width)));
    n += __builtin_popcount(lanes);
  });
  for (; n % width; ++n) xs[n] = gs[n] = 1.0f;  // whole vectors
  compute(gs, xs, n);
  n = 0;
  flags.each([&](int v) {
    const Lanes lanes = flags.lanes[v];
    _mm512_mask_storeu_ps(y + v * width, lanes, _mm512_maskz_expandloadu_ps(lanes, ys + n));
    n += __builtin_popcount(lanes);
  });
}

// One block of float32: `vectors` whole vectors; y does not overlap x or g.
template <class F, class Shape, int constants_count, bool is_backward>
HILLOCK_INLINE void one_block(const float* g, const float* x, float* y, int vectors, const double* constants) {
  Flags flags;
  Lanes any = 0;
  if (vectors < block / width) std::memset(&flags, 0, sizeof flags);
#pragma GCC unroll 2
  for (int v = 0; v < vectors; ++v) {
    const Vector at = _mm512_loadu_ps(x + v * width);
    Lanes rare;
    Vector result;
    if constexpr (is_backward) result = Shape::backward(_mm512_loadu_ps(g + v * width), at, rare);
    else result = Shape::forward(at, rare);
    _mm512_storeu_ps(y + v * width, result);
    flags.lanes[v] = rare;
    any = Lanes(any | rare);
  }
  if (any) repair<F, constants_count, is_backward>(flags, g, x, y, vectors, constants);
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
  constexpr bool is_single = std::is_same_v<Kind, Float32>;
  const auto* g = static_cast<const Storage*>(gradient);
  const auto* x = static_cast<const Storage*>(from);
  auto* y = static_cast<Storage*>(to);
  const bool apart = to != from && to != gradient;
  alignas(64) float xs[block], gs[block], ys[block];
  for (int64_t i = 0; i < count; i += block) {
    const int n = int(count - i < block ? count - i : block);
    const bool whole = n % width == 0;
    const int vectors = (n + width - 1) / width;
    const float *x_block = xs, *g_block = gs;
    float* y_block = ys;
    if constexpr (is_single) {
      if (whole) {
        x_block = x + i;
        if (is_backward) g_block = g + i;
        if (apart && !stream) y_block = y + i;
        if (stream) {
          for (int k = 0; k < n; k += width) {  // 2 KB ahead
            _mm_prefetch(reinterpret_cast<const char*>(x + i + block + k), _MM_HINT_T0);
            if (is_backward) _mm_prefetch(reinterpret_cast<const char*>(g + i + block + k), _MM_HINT_T0);
          }
        }
      } else {
        std::memcpy(xs, x + i, n * sizeof(float));
        if (is_backward) std::memcpy(gs, g + i, n * sizeof(float));
      }
    } else {
      widen<Kind>(x + i, xs, n);
      if (is_backward) widen<Kind>(g + i, gs, n);
    }
    if (!whole)
      for (int k = n; k < vectors * width; ++k) xs[k] = gs[k] = 1.0f;
    one_block<F, Shape, constants_count, is_backward>(g_block, x_block, y_block, vectors, constants);
    if constexpr (is_single) {
      if (y_block == ys) {
        if (stream) write_past_caches(ys, y + i, n);
        else std::memcpy(y + i, ys, n * sizeof(float));
      }
    } else {
      narrow(ys, y + i, n, Kind{});
    }
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
