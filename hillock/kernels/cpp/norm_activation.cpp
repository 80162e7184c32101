// Batch normalisation, an optional residual addition and an activation over a channels-last map, in as few passes over
// memory as there can be.
//
// The map is a matrix of `rows` pixels by `channels`, dense, one row after another. With s = gamma / std and
// t = beta - mean * s, both per channel, and r the residual (or nothing):
//   forward    statistics: one pass over x;  y = phi(x * s + t + r): one pass over x and r, one write
//   backward   d = dy * phi'(x * s + t + r), recomputed;  sums of d and of d * xhat: one pass (writes d when r needs it,
//              or when dy comes in two parts, which are added on the way);
//              dx = s * (d - mean(d) - xhat * mean(d * xhat)): one pass, one write
// Nothing but x and r is kept between the two.
//
// Blocks of rows are fixed by the size alone, and partial sums are added in block order: the result does not depend on the
// number of threads. Sums are float32 within a block (about 32 k elements), double across blocks.
#if defined(__AVX512BF16__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <vector>

#include "kernel.h"

namespace {

constexpr int64_t kLanes = 16;                // float32 lanes of one vector
constexpr int64_t kGroup = 4;                 // vectors handled together: their sums stay in registers
constexpr int64_t kWidth = kLanes * kGroup;
constexpr int64_t kBlock = 32768;             // elements of one task: 64 KB of bfloat16, half of an L1+L2 way

typedef float Floats __attribute__((vector_size(4 * kLanes)));
typedef int32_t Ints __attribute__((vector_size(4 * kLanes)));
typedef uint32_t Words __attribute__((vector_size(4 * kLanes)));
typedef uint16_t Halves __attribute__((vector_size(2 * kLanes)));

struct BFloat16 { uint16_t bits; };

inline Floats load(const float* p) { Floats v; std::memcpy(&v, p, sizeof v); return v; }
inline Floats load(const BFloat16* p) {
  Halves h;
  std::memcpy(&h, p, sizeof h);
  return (Floats)(__builtin_convertvector(h, Words) << 16);
}
inline Words to_bfloat16(Floats v) {  // to nearest, ties to even; a NaN stays a NaN
  Words w = (Words)v;
  Words rounded = (w + 0x7fff + ((w >> 16) & 1)) >> 16;
  return (v == v) ? rounded : ((w >> 16) | 0x40);
}
inline void store(float* p, Floats v) { std::memcpy(p, &v, sizeof v); }
inline void store(BFloat16* p, Floats v) {
#ifdef __AVX512BF16__  // one instruction; it differs from the form below in flushing results under 2^-126 to zero
  auto packed = _mm512_cvtneps_pbh((__m512)v);
  std::memcpy(p, &packed, sizeof packed);
#else
  Halves h = __builtin_convertvector(to_bfloat16(v), Halves);
  std::memcpy(p, &h, sizeof h);
#endif
}
inline Floats splat(float x) { return Floats{} + x; }

// Asks for what the loop needs 2 KB later. A period of 64 elements makes the streams linear, but the hardware's prefetcher
// stops at every 4 KB page; measured on a 4 MB bfloat16 map (Xeon, AVX512): forward 0.59 -> 0.51 ms, backward 1.42 -> 1.16 ms.
constexpr int64_t kAhead = 2048;
template <class T> inline void ask(const T* p, int64_t j) {
  if (j * sizeof(T) * kLanes % 64 == 0) __builtin_prefetch((const char*)p + kAhead, 0, 3);
}
// The same for lines to be written: another 5 to 10 % of both directions on maps of 1 to 9 MB.
template <class T> inline void ask_to_write(const T* p, int64_t j) {
  if (j * sizeof(T) * kLanes % 64 == 0) __builtin_prefetch((const char*)p + kAhead, 1, 3);
}

// The activation as the loops see it.
struct Identity {
  Floats value(Floats p) const { return p; }
  Floats slope_times(Floats, Floats g) const { return g; }
};
struct ReLU {
  Floats value(Floats p) const { return p <= 0.0f ? splat(0.0f) : p; }  // a NaN passes
  Floats slope_times(Floats p, Floats g) const { return p <= 0.0f ? splat(0.0f) : g; }
};
// Any pointwise function of a bfloat16 pre-activation: its 65,536 values and slopes, looked up.
struct Table {
  const float* values;
  const float* slopes;
  static Floats look_up(const float* table, Floats p) {
    Words index = to_bfloat16(p);
#ifdef __AVX512F__  // one instruction instead of sixteen look-ups
    return (Floats)_mm512_i32gather_ps((__m512i)index, table, 4);
#endif
    Floats out;
    for (int i = 0; i < kLanes; ++i) out[i] = table[index[i]];
    return out;
  }
  Floats value(Floats p) const { return look_up(values, p); }
  Floats slope_times(Floats p, Floats g) const { return look_up(slopes, p) * g; }
};

// The flat map as `periods` repetitions of `period` elements (a common multiple of channels and kWidth) and a tail.
struct Layout {
  int64_t rows, channels, period, periods, periods_per_block, blocks;
  Layout(int64_t rows, int64_t channels) : rows(rows), channels(channels) {
    period = std::lcm(channels, kWidth);
    periods = rows * channels / period;
    periods_per_block = std::max<int64_t>(1, kBlock / period);
    blocks = (periods + periods_per_block - 1) / periods_per_block;
  }
  int64_t tail() const { return periods * period; }
  int64_t size() const { return rows * channels; }
  std::vector<float> repeat(const float* per_channel) const {
    std::vector<float> out(period);
    for (int64_t i = 0; i < period; ++i) out[i] = per_channel[i % channels];
    return out;
  }
  // body(block, column, first period, last period): every group of kWidth columns of every block.
  template <class Body> void each(Body body) const {
    hillock::in_parallel(blocks, [&](int64_t first, int64_t last) {
      for (int64_t block = first; block < last; ++block) {
        int64_t from = block * periods_per_block, to = std::min(from + periods_per_block, periods);
        for (int64_t column = 0; column < period; column += kWidth) body(block, column, from, to);
      }
    });
  }
};

// Two per-channel sums: partial ones [blocks][2][period] in float32, totals [channels] in double.
struct Sums {
  const Layout& layout;
  std::vector<float> partials;
  std::vector<double> first, second;
  explicit Sums(const Layout& layout)
      : layout(layout), partials(layout.blocks * 2 * layout.period), first(layout.channels), second(layout.channels) {}
  void put(int64_t block, int64_t column, const Floats* a, const Floats* b) {
    float* at = &partials[2 * block * layout.period + column];
    for (int j = 0; j < kGroup; ++j) {
      store(at + j * kLanes, a[j]);
      store(at + layout.period + j * kLanes, b[j]);
    }
  }
  void add_up() {
    for (int64_t block = 0; block < layout.blocks; ++block)
      for (int64_t i = 0; i < layout.period; ++i) {
        first[i % layout.channels] += partials[2 * block * layout.period + i];
        second[i % layout.channels] += partials[(2 * block + 1) * layout.period + i];
      }
  }
};

// The elements after the last whole period, sixteen at a time through padded copies: body(n, offset).
template <class T> Floats load_some(const T* p, int64_t n) {
  T padded[kLanes] = {};
  std::memcpy(padded, p, n * sizeof(T));
  return load(padded);
}
template <class T> void store_some(T* p, Floats v, int64_t n) {
  T padded[kLanes];
  store(padded, v);
  std::memcpy(p, padded, n * sizeof(T));
}
template <class Body> void each_in_tail(const Layout& layout, Body body) {
  for (int64_t i = layout.tail(); i < layout.size(); i += kLanes) body(i, std::min(kLanes, layout.size() - i));
}

template <class T>
void statistics(const T* x, const Layout& layout, float* mean, float* variance) {
  // Sums are of x - shift, with the first pixel as the shift, so that a large mean does not cancel the variance away.
  std::vector<float> shift(layout.channels);
  for (int64_t c = 0; c < layout.channels; ++c) shift[c] = load_some(x + c, 1)[0];
  std::vector<float> shifts = layout.repeat(shift.data());
  Sums sums(layout);
  layout.each([&](int64_t block, int64_t column, int64_t from, int64_t to) {
    Floats sum[kGroup] = {}, square[kGroup] = {}, k[kGroup];
    for (int j = 0; j < kGroup; ++j) k[j] = load(&shifts[column + j * kLanes]);
    const T* p = x + from * layout.period + column;
    for (int64_t r = from; r < to; ++r, p += layout.period)
      for (int j = 0; j < kGroup; ++j) {
        ask(p + j * kLanes, j);
        Floats d = load(p + j * kLanes) - k[j];
        sum[j] += d;
        square[j] += d * d;
      }
    sums.put(block, column, sum, square);
  });
  sums.add_up();
  for (int64_t i = layout.tail(); i < layout.size(); ++i) {
    int64_t c = i % layout.channels;
    double d = load_some(x + i, 1)[0] - shift[c];
    sums.first[c] += d;
    sums.second[c] += d * d;
  }
  for (int64_t c = 0; c < layout.channels; ++c) {
    double m = sums.first[c] / layout.rows;
    mean[c] = (float)(shift[c] + m);
    variance[c] = (float)std::max(0.0, sums.second[c] / layout.rows - m * m);
  }
}

template <class T, class Phi, bool kResidual>
void forward(const T* x, const T* residual, T* y, const Layout& layout, const float* scale, const float* shift, Phi phi) {
  std::vector<float> scales = layout.repeat(scale), shifts = layout.repeat(shift);
  layout.each([&](int64_t, int64_t column, int64_t from, int64_t to) {
    Floats s[kGroup], t[kGroup];
    for (int j = 0; j < kGroup; ++j) s[j] = load(&scales[column + j * kLanes]), t[j] = load(&shifts[column + j * kLanes]);
    for (int64_t r = from, at = from * layout.period + column; r < to; ++r, at += layout.period)
      for (int j = 0; j < kGroup; ++j) {
        int64_t i = at + j * kLanes;
        ask(x + i, j);
        if (kResidual) ask(residual + i, j);
        ask_to_write(y + i, j);
        Floats p = load(x + i) * s[j] + t[j];
        if (kResidual) p += load(residual + i);
        store(y + i, phi.value(p));
      }
  });
  each_in_tail(layout, [&](int64_t i, int64_t n) {
    int64_t c = i - layout.tail();
    Floats p = load_some(x + i, n) * load_some(&scales[c], n) + load_some(&shifts[c], n);
    if (kResidual) p += load_some(residual + i, n);
    store_some(y + i, phi.value(p), n);
  });
}

// d = (dy + more) * phi'(p), more being nullptr for nothing; writes d where wanted (kWritten); sums d and d * (x - mean).
template <class T, class Phi, bool kResidual, bool kWritten>
void backward_sums(const T* dy, const T* more, const T* x, const T* residual, T* d_out, const Layout& layout, const float* scale,
                   const float* shift, const float* mean, Phi phi, double* sum_d, double* sum_dx) {
  std::vector<float> scales = layout.repeat(scale), shifts = layout.repeat(shift), means = layout.repeat(mean);
  Sums sums(layout);
  layout.each([&](int64_t block, int64_t column, int64_t from, int64_t to) {
    Floats a[kGroup] = {}, b[kGroup] = {}, s[kGroup], t[kGroup], m[kGroup];
    for (int j = 0; j < kGroup; ++j) {
      s[j] = load(&scales[column + j * kLanes]);
      t[j] = load(&shifts[column + j * kLanes]);
      m[j] = load(&means[column + j * kLanes]);
    }
    for (int64_t r = from, at = from * layout.period + column; r < to; ++r, at += layout.period)
      for (int j = 0; j < kGroup; ++j) {
        int64_t i = at + j * kLanes;
        ask(x + i, j);
        ask(dy + i, j);
        if (kResidual) ask(residual + i, j);
        if (kWritten && more) ask(more + i, j);
        if (kWritten) ask_to_write(d_out + i, j);
        Floats v = load(x + i), p = v * s[j] + t[j];
        if (kResidual) p += load(residual + i);
        Floats g = load(dy + i);
        if (kWritten && more) g += load(more + i);
        Floats d = phi.slope_times(p, g);
        if (kWritten) store(d_out + i, d);
        a[j] += d;
        b[j] += d * (v - m[j]);
      }
    sums.put(block, column, a, b);
  });
  sums.add_up();
  each_in_tail(layout, [&](int64_t i, int64_t n) {
    int64_t c = i - layout.tail();
    Floats v = load_some(x + i, n), p = v * load_some(&scales[c], n) + load_some(&shifts[c], n);
    if (kResidual) p += load_some(residual + i, n);
    Floats g = load_some(dy + i, n);
    if (kWritten && more) g += load_some(more + i, n);
    Floats d = phi.slope_times(p, g);
    if (kWritten) store_some(d_out + i, d, n);
    for (int64_t k = 0; k < n; ++k) {
      int64_t channel = (i + k) % layout.channels;
      sums.first[channel] += d[k];
      sums.second[channel] += (double)d[k] * (v[k] - mean[channel]);
    }
  });
  for (int64_t c = 0; c < layout.channels; ++c) sum_d[c] = sums.first[c], sum_dx[c] = sums.second[c];
}

// dx = d * s + x * u + w with per-channel u, w; d recomputed from dy, or read when it was written (kWritten).
template <class T, class Phi, bool kWritten>
void backward_apply(const T* dy, const T* x, T* dx, const Layout& layout, const float* scale, const float* shift,
                    const float* factor, const float* offset, Phi phi) {
  std::vector<float> scales = layout.repeat(scale), shifts = layout.repeat(shift), factors = layout.repeat(factor),
                     offsets = layout.repeat(offset);
  auto one = [&](Floats g, Floats v, Floats s, Floats t, Floats u, Floats w) {
    Floats d = kWritten ? g : phi.slope_times(v * s + t, g);
    return d * s + (v * u + w);
  };
  layout.each([&](int64_t, int64_t column, int64_t from, int64_t to) {
    Floats s[kGroup], t[kGroup], u[kGroup], w[kGroup];
    for (int j = 0; j < kGroup; ++j) {
      int64_t c = column + j * kLanes;
      s[j] = load(&scales[c]), t[j] = load(&shifts[c]), u[j] = load(&factors[c]), w[j] = load(&offsets[c]);
    }
    for (int64_t r = from, at = from * layout.period + column; r < to; ++r, at += layout.period)
      for (int j = 0; j < kGroup; ++j) {
        int64_t i = at + j * kLanes;
        ask(x + i, j);
        ask(dy + i, j);
        ask_to_write(dx + i, j);
        store(dx + i, one(load(dy + i), load(x + i), s[j], t[j], u[j], w[j]));
      }
  });
  each_in_tail(layout, [&](int64_t i, int64_t n) {
    int64_t c = i - layout.tail();
    store_some(dx + i, one(load_some(dy + i, n), load_some(x + i, n), load_some(&scales[c], n), load_some(&shifts[c], n),
                           load_some(&factors[c], n), load_some(&offsets[c], n)), n);
  });
}

template <class Run> void with_activation(int kind, const float* values, const float* slopes, Run run) {
  if (kind == 0) run(Identity{});
  else if (kind == 1) run(ReLU{});
  else run(Table{values, slopes});
}

template <class T>
void run_forward(const T* x, const T* residual, T* y, int64_t rows, int64_t channels, const float* scale, const float* shift,
                 int kind, const float* values) {
  Layout layout(rows, channels);
  with_activation(kind, values, nullptr, [&](auto phi) {
    if (residual) forward<T, decltype(phi), true>(x, residual, y, layout, scale, shift, phi);
    else forward<T, decltype(phi), false>(x, residual, y, layout, scale, shift, phi);
  });
}

template <class T>
void run_backward(const T* dy, const T* more, const T* x, const T* residual, T* d_out, T* dx, int64_t rows, int64_t channels,
                  const float* scale, const float* shift, const float* mean, const float* inverse_std, bool batch_statistics,
                  int kind, const float* slopes, float* d_gamma, float* d_beta) {
  Layout layout(rows, channels);
  std::vector<double> sum_d(channels), sum_dx(channels);
  std::vector<float> factor(channels), offset(channels);
  with_activation(kind, nullptr, slopes, [&](auto phi) {
    using Phi = decltype(phi);
    auto sums = residual ? backward_sums<T, Phi, true, true>
                : d_out  ? backward_sums<T, Phi, false, true>
                         : backward_sums<T, Phi, false, false>;
    sums(dy, more, x, residual, d_out, layout, scale, shift, mean, phi, sum_d.data(), sum_dx.data());
    for (int64_t c = 0; c < channels; ++c) {
      d_beta[c] = (float)sum_d[c];
      d_gamma[c] = (float)(sum_dx[c] * inverse_std[c]);
      // dx = s d - s mean(d) - s xhat mean(d xhat), with xhat = (x - mean) / std
      double u = batch_statistics ? -(double)scale[c] * sum_dx[c] * inverse_std[c] * inverse_std[c] / rows : 0.0;
      double w = batch_statistics ? -(double)scale[c] * sum_d[c] / rows - u * mean[c] : 0.0;
      factor[c] = (float)u, offset[c] = (float)w;
    }
    if (d_out) backward_apply<T, Phi, true>(d_out, x, dx, layout, scale, shift, factor.data(), offset.data(), phi);
    else backward_apply<T, Phi, false>(dy, x, dx, layout, scale, shift, factor.data(), offset.data(), phi);
  });
}

}  // namespace

extern "C" {

void hillock_norm_statistics(int bf16, const void* x, int64_t rows, int64_t channels, float* mean, float* variance) {
  Layout layout(rows, channels);
  if (bf16) statistics((const BFloat16*)x, layout, mean, variance);
  else statistics((const float*)x, layout, mean, variance);
}
// The same, and all that follows from it a channel, which in small tensor operations takes longer than small maps do.
// Rows of out: mean, variance, 1 / std, scale, shift. The running statistics, where there are any, move by `momentum`.
void hillock_norm_settle(int bf16, const void* x, int64_t rows, int64_t channels, const float* gamma, const float* beta,
                         double epsilon, float* running_mean, float* running_var, double momentum, float* out) {
  float *mean = out, *variance = mean + channels, *inverse_std = variance + channels, *scale = inverse_std + channels,
        *shift = scale + channels;
  hillock_norm_statistics(bf16, x, rows, channels, mean, variance);
  const float unbiased = float(double(rows) / double(rows - 1)), share = float(momentum);
  for (int64_t c = 0; c < channels; ++c) {
    inverse_std[c] = 1.0f / std::sqrt(variance[c] + float(epsilon));
    scale[c] = gamma[c] * inverse_std[c];
    shift[c] = beta[c] - mean[c] * scale[c];
    if (running_mean) running_mean[c] += share * (mean[c] - running_mean[c]);
    if (running_var) running_var[c] += share * (variance[c] * unbiased - running_var[c]);
  }
}
void hillock_norm_forward(int bf16, const void* x, const void* residual, void* y, int64_t rows, int64_t channels, const float* scale,
                const float* shift, int kind, const float* values) {
  if (bf16) run_forward((const BFloat16*)x, (const BFloat16*)residual, (BFloat16*)y, rows, channels, scale, shift, kind, values);
  else run_forward((const float*)x, (const float*)residual, (float*)y, rows, channels, scale, shift, kind, values);
}
void hillock_norm_backward(int bf16, const void* dy, const void* more, const void* x, const void* residual, void* d_out, void* dx, int64_t rows,
                 int64_t channels, const float* scale, const float* shift, const float* mean, const float* inverse_std,
                 int batch_statistics, int kind, const float* slopes, float* d_gamma, float* d_beta) {
  if (bf16)
    run_backward((const BFloat16*)dy, (const BFloat16*)more, (const BFloat16*)x, (const BFloat16*)residual, (BFloat16*)d_out, (BFloat16*)dx, rows,
                 channels, scale, shift, mean, inverse_std, batch_statistics, kind, slopes, d_gamma, d_beta);
  else
    run_backward((const float*)dy, (const float*)more, (const float*)x, (const float*)residual, (float*)d_out, (float*)dx, rows, channels, scale,
                 shift, mean, inverse_std, batch_statistics, kind, slopes, d_gamma, d_beta);
}
}
