// The `faithful` float32 path on AVX512: no exponential and no division, but a polynomial on one of 32 intervals. Its
// coefficients come from tables by a permutation (one instruction a coefficient); the result is one final rounding of an
// exact number plus a small one, so the error stays below 1 ULP. The values are those of the tables alone: a lane does
// not depend on its neighbours, on alignment or on the length. Lanes outside the table are repaired afterwards, a block
// of 2048 at a time: tails by a float32 exponential (tails.h), NaN and infinities by the float64 path.
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
  constexpr int slope = 2 + T::remainder, last = slope + T::slope_remainder + T::terms;  // the rows: c A A' B B' Q0 ...
  const auto times_r = [&](Vector a) __attribute__((always_inline)) {  // A' + a r, never -0: x = -0 keeps its sign
    if constexpr (T::remainder) return _mm512_fmadd_ps(a, r, row(2));
    else return _mm512_fmadd_ps(a, r, _mm512_setzero_ps());
  };
  Vector sum = row(last);
#pragma GCC unroll 12
  for (int k = last - 1; k > slope; --k) sum = _mm512_fmadd_ps(sum, r, row(k));  // B' + r(Q0 + ...) or Q0 + ...
  if constexpr (T::slope_remainder) return {row(1), _mm512_fmadd_ps(r, row(slope), times_r(sum))};
  else return {row(1), times_r(_mm512_fmadd_ps(sum, r, row(slope)))};
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
HILLOCK_INLINE Vector opposite(Vector x) { return _mm512_xor_ps(x, all(-0.0f)); }
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
// Each gives forward(x) or backward(g, x), and says which lanes need repair: rare(x).
// Tail computes such lanes: finish(w, x), w being the gradient or x. Brief is the same with the brief form of its table,
// good enough for bfloat16.

template <class Tail_>
struct Shape {
  using Tail = Tail_;
};

// G(x) or x G(x) with G known from its tail T: G(x) = T(-x) for x < 0, 1 - T(x) for x >= 0 (reflected: the other way).
template <class T, class Tail, bool by_x, bool reflected = false>
struct Gate : Shape<Tail> {
  using Brief = Gate<typename T::Brief, Tail, by_x, reflected>;
  static HILLOCK_INLINE Lanes rare(Vector x) { return beyond(size_of(x), T::high); }
  static HILLOCK_INLINE Pair pair(Vector x) {
    return complement(look_up<T>(size_of(x)), reflected ? negative(x) : Lanes(~negative(x)));
  }
  static HILLOCK_INLINE Vector forward(Vector x) { return by_x ? times(x, pair(x)) : total(pair(x)); }
  static HILLOCK_INLINE Vector backward(Vector g, Vector x) { return times(g, pair(x)); }
};

// The same for functions whose table reaches to where the positive side is 1 to the last bit: x or g comes through.
template <class T, class Tail>
struct GateToOne : Shape<Tail> {
  using Brief = GateToOne<typename T::Brief, Tail>;
  static HILLOCK_INLINE Lanes rare(Vector x) { return Lanes(beyond(size_of(x), T::high) & ~from(x, T::one_from)); }
  static HILLOCK_INLINE Vector backward(Vector w, Vector x) {
    const Vector y = times(w, complement(look_up<T>(size_of(x)), Lanes(~negative(x))));
    return _mm512_mask_mov_ps(y, from(x, T::one_from), w);
  }
  static HILLOCK_INLINE Vector forward(Vector x) { return backward(x, x); }
};

// An even factor G(|x|).
template <class T, class Tail>
struct Even : Shape<Tail> {
  using Brief = Even<typename T::Brief, Tail>;
  static HILLOCK_INLINE Lanes rare(Vector x) { return beyond(size_of(x), T::high); }
  static HILLOCK_INLINE Vector backward(Vector w, Vector x) { return times(w, look_up<T>(size_of(x))); }
  static HILLOCK_INLINE Vector forward(Vector x) { return backward(x, x); }
};

// A factor G(x) on [low, high] that is 1 from `one_from` on.
template <class T, class Tail>
struct Signed : Shape<Tail> {
  using Brief = Signed<typename T::Brief, Tail>;
  static HILLOCK_INLINE Lanes rare(Vector x) {
    return Lanes((below(x, T::low) | beyond(x, T::high)) & ~from(x, T::one_from));
  }
  static HILLOCK_INLINE Vector backward(Vector w, Vector x) {
    return _mm512_mask_mov_ps(times(w, look_up<T>(x)), from(x, T::one_from), w);
  }
  static HILLOCK_INLINE Vector forward(Vector x) { return signed_as(x, backward(x, x)); }
};

// The value G(x) itself, or -G(-x), on [low, high].
template <class T, class Tail, bool reflected = false>
struct Plain : Shape<Tail> {
  using Brief = Plain<typename T::Brief, Tail, reflected>;
  static HILLOCK_INLINE Lanes rare(Vector x) {
    const Vector t = reflected ? opposite(x) : x;
    return Lanes(below(t, T::low) | beyond(t, T::high));
  }
  static HILLOCK_INLINE Vector forward(Vector x) {
    const Vector y = total(look_up<T>(reflected ? opposite(x) : x));
    return reflected ? opposite(y) : y;
  }
};

// x G(x) below 0 (value) or g G(x) (slope); above 0 the line with slope `scale`.
template <class T, class Tail, bool closed, long double scale = 1.0L>
struct Half : Shape<Tail> {
  using Brief = Half<typename T::Brief, Tail, closed, scale>;
  static HILLOCK_INLINE Lanes rare(Vector x) { return below(x, T::low); }
  static HILLOCK_INLINE Vector backward(Vector w, Vector x) {
    const Lanes line = closed ? from(x, 0.0f) : _mm512_cmp_ps_mask(x, all(0.0f), _CMP_GT_OQ);
    const Vector y = times(w, look_up<T>(x));
    if constexpr (scale == 1.0L) return _mm512_mask_mov_ps(y, line, w);
    else return _mm512_mask_mov_ps(y, line, _mm512_fmadd_ps(w, all(float(scale - 1.0L)), w));
  }
  static HILLOCK_INLINE Vector forward(Vector x) {
    const Vector y = backward(x, x);
    return scale == 1.0L ? y : signed_as(x, y);
  }
};

// ---------------------------------------------------------------------------------------------- formats, to float32

template <class Kind>
struct Memory;  // loads and stores 16 elements
template <>
struct Memory<Float32> {
  static HILLOCK_INLINE Vector load(const float* from) { return _mm512_loadu_ps(from); }
  static HILLOCK_INLINE void store(float* to, Vector y) { _mm512_storeu_ps(to, y); }
  static HILLOCK_INLINE void store(float* to, Lanes lanes, Vector y) { _mm512_mask_storeu_ps(to, lanes, y); }
  static HILLOCK_INLINE void stream(float* to, const float* from) { _mm512_stream_ps(to, _mm512_load_ps(from)); }
};
template <class Kind>
struct HalfMemory {
  static HILLOCK_INLINE Vector load(const uint16_t* from) {
    return Memory<Kind>::widened(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
  }
  static HILLOCK_INLINE void store(uint16_t* to, Vector y) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), Memory<Kind>::rounded(y));
  }
  static HILLOCK_INLINE void store(uint16_t* to, Lanes lanes, Vector y) {
    _mm256_mask_storeu_epi16(to, lanes, Memory<Kind>::rounded(y));
  }
  static HILLOCK_INLINE void stream(uint16_t* to, const uint16_t* from) {
    _mm256_stream_si256(reinterpret_cast<__m256i*>(to), _mm256_load_si256(reinterpret_cast<const __m256i*>(from)));
  }
};
template <>
struct Memory<Bfloat16> : HalfMemory<Bfloat16> {
  static HILLOCK_INLINE Vector widened(__m256i x) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16));
  }
  // To nearest even. A NaN that comes from 16-bit input has zeros where the rounding adds, so it stays one. (The
  // processor's own conversion takes denormals for zero.)
  static HILLOCK_INLINE __m256i rounded(Vector y) {
    const __m512i bits = _mm512_castps_si512(y);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i sum = _mm512_add_epi32(_mm512_add_epi32(bits, odd), _mm512_set1_epi32(0x7fff));
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(sum, 16));
  }
};
template <>
struct Memory<Float16> : HalfMemory<Float16> {
  static HILLOCK_INLINE Vector widened(__m256i x) { return _mm512_cvtph_ps(x); }
  static HILLOCK_INLINE __m256i rounded(Vector y) {
    return _mm512_cvtps_ph(y, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
};

// ------------------------------------------------------------------------------------------- beyond the tables

// Computes `vectors` vectors that lie beyond the table: the tail's form, and where that does not hold the float64 path.
template <class F, class Tail, int constants_count, bool is_backward>
HILLOCK_INLINE void compute_tail(const float* g, const float* x, float* y, int vectors, const double* constants) {
  alignas(64) float wide[block];
  Lanes unfit[block / width], any = 0;
  for (int v = 0; v < vectors; ++v) {
    const Vector at = _mm512_loadu_ps(x + v * width), w = is_backward ? _mm512_loadu_ps(g + v * width) : at;
    // A NaN, an infinity or a size that the tail's form does not allow for.
    unfit[v] = Lanes(beyond(size_of(w), 0x1p16f) | _mm512_cmp_ps_mask(at, at, _CMP_UNORD_Q));
    any = Lanes(any | unfit[v]);
    _mm512_store_ps(y + v * width, Tail::finish(w, at));
  }
  if (!any) return;
  if constexpr (is_backward) exact_backward<F, Float32, constants_count>(g, x, wide, vectors * width, constants, false);
  else exact_forward<F, Float32, constants_count>(x, wide, vectors * width, constants, false);
  for (int v = 0; v < vectors; ++v) _mm512_mask_storeu_ps(y + v * width, unfit[v], _mm512_load_ps(wide + v * width));
}

}  // namespace hillock
#endif
