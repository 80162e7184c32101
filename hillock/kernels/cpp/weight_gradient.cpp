// The weight gradient of a 3x3 convolution of stride 1 or 2 and padding 1 over channels-last bfloat16 maps, on AMX tiles.
//
// A chunk of pictures is laid out in scratch memory as one line of pixels: each row is followed by one zero pixel, each
// picture by one row of zeros. With W + 1 pixels a row, the nine taps of pixel q are q + ky (W + 1) + kx whatever the row
// or picture, so that the gradient is a plain matrix product over the line:
//   dw[o, (ky, kx, c)] = sum over q of dy[q, o] line[q + ky (W + 1) + kx, c]
// With stride 2 the pixels of x are four such lines, by the parity of their row and column, and every tap reads one of them.
// dy is laid out channel by channel, because a tile product wants the terms of its left factor side by side; x in pairs of
// pixels, as the right factor wants it. A pair starts at an even place: a tap at an odd offset takes the pair before it, and
// the gradient one pixel further on. So one left factor serves all taps of one parity, and every right factor is one whole
// kilobyte on cache lines; a tile row across two lines takes twice as long to load.
// The products are 16x16 tiles of float32 sums over 32 bfloat16 terms an instruction. What a library kernel pays for small
// maps (one pass over the weight gradient a picture, tiles half empty) does not arise, because a chunk holds as many
// pictures as the caches take.
//
// Work is divided by the shape alone and partial sums are added in a fixed order: the number of threads changes nothing.
#ifdef __AMX_BF16__
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "kernel.h"

namespace {

constexpr int64_t kTile = 16;               // rows of a tile, and float32 columns
constexpr int64_t kDepth = 32;              // bfloat16 terms of one tile product
constexpr int64_t kTileBytes = 1024;
constexpr int64_t kChunkBytes = 1 << 20;    // of a chunk, both maps together: half of an L2
constexpr int64_t kAhead = 4096;            // bytes
constexpr int64_t kParts = 4;               // of the batch, each with sums of its own; 2 where those leave the caches
constexpr int64_t kLargeSums = 4 << 20;     // bytes

// Linux hands the tile registers only to processes that ask.
bool permitted() {
  static const bool granted = syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18 /* tile data */) == 0;
  return granted;
}

struct alignas(64) Configuration {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t bytes_a_row[16] = {};
  uint8_t rows[16] = {};
  Configuration() { for (int i = 0; i < 8; ++i) bytes_a_row[i] = 64, rows[i] = kTile; }
};
// GCC's intrinsics for loads and configuration do not say that they read memory, so the compiler may drop or delay what is
// written for them. After this call it may not.
inline void written(const void* where) { asm volatile("" ::"r"(where) : "memory"); }
struct Tiles {  // the tile registers, for as long as a thread needs them
  Tiles() { Configuration all; written(&all); _tile_loadconfig(&all); }
  ~Tiles() { _tile_release(); }
};

// c[i] += sum over steps of a times b[i]. A step of a lies 64 bytes on in each row, one of b a tile on.
// Registers: 0 to 5 results, 6 the left factor, 7 the right ones in turn. What follows the sums in memory, those of the next
// tiles, is asked for on the way: weights of many channels have more sums than an L2 holds.
template <int kCount>
void multiply(const char* a, int64_t pitch, const char* const* b, int64_t steps, float* const* c) {
  const char* next = (const char*)c[0] + 9 * kTileBytes;
  written(a);
#define EACH(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5)
#define LOAD(i) if constexpr (i < kCount) _tile_loadd(i, c[i], 64);
#define ADD(i) if constexpr (i < kCount) { _tile_loadd(7, b[i] + step * kTileBytes, 64); _tile_dpbf16ps(i, 6, 7); }
#define STORE(i) if constexpr (i < kCount) _tile_stored(i, c[i], 64);
  EACH(LOAD)
  for (int64_t step = 0; step < steps; ++step) {
    _tile_loadd(6, a + 64 * step, pitch);
    for (int64_t line = 0; line < 256; line += 64) __builtin_prefetch(next + 256 * step + line, 1, 2);
    EACH(ADD)
  }
  EACH(STORE)
#undef EACH
#undef LOAD
#undef ADD
#undef STORE
}

// By the number of taps; at most six of the nine are at even offsets or at odd ones.
using Multiply = void (*)(const char*, int64_t, const char* const*, int64_t, float* const*);
constexpr Multiply kMultiply[] = {nullptr, multiply<1>, multiply<2>, multiply<3>, multiply<4>, multiply<5>, multiply<6>};

int64_t round_up(int64_t x, int64_t unit) { return (x + unit - 1) / unit * unit; }
// The size of the chunks that `count` falls into when none is larger than `most` and all are about equal.
int64_t evenly(int64_t count, int64_t most) {
  const int64_t chunks = (count + std::max<int64_t>(most, 1) - 1) / std::max<int64_t>(most, 1);
  return (count + chunks - 1) / chunks;
}

// Zeros on whole cache lines: a tile row that lies across two lines takes twice as long to load.
template <class T> struct Buffer {
  int64_t size;
  std::unique_ptr<T[], decltype(&std::free)> data;
  explicit Buffer(int64_t size)
      : size(size), data((T*)std::aligned_alloc(64, round_up(size * sizeof(T), 64)), &std::free) { clear(); }
  void clear() { std::memset(data.get(), 0, size * sizeof(T)); }
  T& operator[](int64_t i) { return data[i]; }
  const T& operator[](int64_t i) const { return data[i]; }
};

// The line of pixels described above, for maps of x of height x width.
struct Line {
  int64_t height, width, stride, rows, columns, pitch, plane;  // rows and columns of dy
  Line(int64_t height, int64_t width, int64_t stride)
      : height(height), width(width), stride(stride), rows((height - 1) / stride + 1), columns((width - 1) / stride + 1),
        pitch(columns + 1), plane((rows + 1) * pitch) {}
  int64_t parities() const { return stride * stride; }
  int64_t reach() const { return stride == 1 ? 2 * pitch + 2 : pitch + 1; }  // from a pixel's first tap to its last
  // Where the pixel (h, w) of a picture lies in its parity's line, and which line that is.
  int64_t place(int64_t h, int64_t w) const { return (h / stride + 1) * pitch + w / stride + 1; }
  int64_t parity(int64_t h, int64_t w) const { return h % stride * stride + w % stride; }
  // How far a tap reads from its pixel. With stride 2 the middle one reads an even row, those beside it two odd ones.
  int64_t offset(int64_t tap) const {
    const int64_t down = tap / 3, across = tap % 3;
    return stride == 1 ? down * pitch + across : std::min<int64_t>(down, 1) * pitch + std::min<int64_t>(across, 1);
  }
  int64_t parity(int64_t tap) const { return stride == 1 ? 0 : (tap / 3 != 1) * 2 + (tap % 3 != 1); }
};

struct Weight {  // where the float32 gradient's elements lie, in elements
  int64_t outputs, inputs, by_output, by_input, by_row, by_column;
};

// Sixteen vectors of sixteen 32-bit lanes, rows and columns exchanged.
inline void transpose(__m512i* r) {
  __m512i t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4)
    for (int k = 0; k < 2; ++k) {
      r[i + 2 * k] = _mm512_unpacklo_epi64(t[i + k], t[i + 2 + k]);
      r[i + 2 * k + 1] = _mm512_unpackhi_epi64(t[i + k], t[i + 2 + k]);
    }
  // r[4 g + j], lane group l, holds column 4 l + j of rows 4 g to 4 g + 3.
  for (int j = 0; j < 4; ++j) {
    __m512i a = _mm512_shuffle_i32x4(r[j], r[4 + j], 0x88), b = _mm512_shuffle_i32x4(r[j], r[4 + j], 0xdd);
    __m512i c = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0x88), d = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0xdd);
    t[j] = _mm512_shuffle_i32x4(a, c, 0x88);
    t[8 + j] = _mm512_shuffle_i32x4(a, c, 0xdd);
    t[4 + j] = _mm512_shuffle_i32x4(b, d, 0x88);
    t[12 + j] = _mm512_shuffle_i32x4(b, d, 0xdd);
  }
  std::memcpy(r, t, sizeof t);
}

// Sixteen channels of two pixels, pairwise interleaved.
inline __m512i pair(const char* first, const char* second) {
  __m512i even = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)first));
  __m512i odd = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)second));
  return _mm512_or_si512(even, _mm512_slli_epi32(odd, 16));
}

// The weight gradient of a share of the batch, as tiles [tile of outputs][tile of inputs][tap][16 outputs][16 inputs].
struct Share {
  const Line line;
  const int64_t inputs, outputs, together, length, pairs, rows_pitch;  // pairs of each line of x
  Buffer<char> turned, paired, zeros;
  std::vector<int32_t> x_source, dy_source;  // the pixel at each place of the line, or none

  Share(const Line& line, int64_t inputs, int64_t outputs, int64_t pictures)
      : line(line), inputs(inputs), outputs(outputs),
        together(evenly(pictures, kChunkBytes / (2 * (line.parities() * inputs + outputs) * line.plane))),
        length(round_up(together * line.plane, kDepth)), pairs(round_up(length + line.reach(), 2) / 2),
        rows_pitch(64 * ((length / kDepth + 1) | 1)),  // an odd number of cache lines, so that rows do not share one set
        turned(rows_pitch * outputs + 64), paired(line.parities() * pairs * inputs * 4),
        zeros(2 * std::max(inputs, outputs)), x_source(line.parities() * pairs * 2, -1), dy_source(length, -1) {
    for (int64_t i = 0, pixel = 0; i < together; ++i)
      for (int64_t h = 0; h < line.height; ++h)
        for (int64_t w = 0; w < line.width; ++w)
          x_source[line.parity(h, w) * pairs * 2 + i * line.plane + line.place(h, w)] = int32_t(pixel++);
    for (int64_t i = 0, pixel = 0; i < together; ++i)
      for (int64_t h = 0; h < line.rows; ++h)
        for (int64_t w = 0; w < line.columns; ++w) dy_source[i * line.plane + h * line.pitch + w] = int32_t(pixel++);
  }

  void add(const char* x, const char* dy, int64_t pictures, float* sums) {
    const int64_t x_size = line.height * line.width, dy_size = line.rows * line.columns;
    for (int64_t first = 0; first < pictures; first += together) {
      const int64_t count = std::min(together, pictures - first);
      lay_out_x(x + first * x_size * inputs * 2, count * x_size);
      lay_out_dy(dy + first * dy_size * outputs * 2, count * dy_size);
      for (int64_t o = 0; o < outputs / kTile; ++o)
        for (int64_t c = 0; c < inputs / kTile; ++c) multiply_tile(o, c, sums + (o * inputs / kTile + c) * 9 * kTile * kTile);
    }
  }

 private:
  const char* source(const char* map, int32_t pixel, int64_t limit, int64_t channels) const {
    return pixel >= 0 && pixel < limit ? map + pixel * channels * 2 : &zeros[0];
  }
  char* pairs_of(int64_t c) { return &paired[c * line.parities() * pairs * 4]; }  // from this channel on, all lines
  void lay_out_x(const char* x, int64_t limit) {
    const char* at[2];
    for (int64_t q = 0; q < line.parities() * pairs * 2; q += 2) {
      for (int64_t i = 0; i < 2; ++i) at[i] = source(x, x_source[q + i], limit, inputs);
      ask(at[0], 2 * inputs * 2);
      for (int64_t c = 0; c < inputs; c += kTile) _mm512_store_si512(pairs_of(c) + q * 32, pair(at[0] + 2 * c, at[1] + 2 * c));
    }
  }
  void lay_out_dy(const char* dy, int64_t limit) {
    const char* at[kDepth];
    for (int64_t q = 0; q < length; q += kDepth) {
      for (int64_t i = 0; i < kDepth; ++i) at[i] = source(dy, dy_source[q + i], limit, outputs);
      ask(at[0], kDepth * outputs * 2);
      for (int64_t o = 0; o < outputs; o += kTile) {
        __m512i rows[16];
        for (int i = 0; i < 16; ++i) rows[i] = pair(at[2 * i] + 2 * o, at[2 * i + 1] + 2 * o);
        transpose(rows);
        for (int i = 0; i < 16; ++i) _mm512_store_si512(&turned[64 + (o + i) * rows_pitch + 2 * q], rows[i]);
      }
    }
  }
  // The hardware's prefetcher stops at every 4 KB page. Asking for what lies beyond the map does no harm.
  static void ask(const char* from, int64_t bytes) {
    for (int64_t byte = 0; byte < bytes; byte += 64) __builtin_prefetch(from + kAhead + byte, 0, 3);
  }
  // All taps of one tile of outputs and one of inputs. Those of one pairing move over x together, in the nearest cache.
  void multiply_tile(int64_t o, int64_t c, float* sums) {
    for (int64_t odd = 0; odd < 2; ++odd) {
      // The terms of an odd offset are those of the even one before it, with the gradient one pixel further on.
      const char* a = &turned[64 + o * kTile * rows_pitch - 2 * odd];
      const char* b[9];
      float* to[9];
      int count = 0;
      for (int64_t tap = 0; tap < 9; ++tap) {
        const int64_t offset = line.offset(tap);
        if (offset % 2 != odd) continue;
        b[count] = pairs_of(c * kTile) + 64 * (line.parity(tap) * pairs + offset / 2);
        to[count++] = sums + tap * kTile * kTile;
      }
      kMultiply[count](a, rows_pitch, b, length / kDepth, to);
    }
  }
};

// Adds up the shares' tiles and puts them where the weight has them.
void add_shares(const Buffer<float>& sums, int64_t parts, float* dw, const Weight& where) {
  const int64_t in_tiles = where.inputs / kTile, size = sums.size / parts;
  hillock::in_parallel(where.outputs / kTile, [&](int64_t first, int64_t last) {
    for (int64_t tile = first * 9 * in_tiles; tile < last * 9 * in_tiles; ++tile) {
      const int64_t tap = tile % 9, c = tile / 9 % in_tiles * kTile, o = tile / 9 / in_tiles * kTile;
      float* to = dw + o * where.by_output + c * where.by_input + tap / 3 * where.by_row + tap % 3 * where.by_column;
      for (int i = 0; i < 16; ++i, to += where.by_output) {
        __m512 sum = _mm512_load_ps(&sums[tile * 256 + i * kTile]);
        for (int64_t part = 1; part < parts; ++part) sum += _mm512_load_ps(&sums[part * size + tile * 256 + i * kTile]);
        if (where.by_input == 1) _mm512_storeu_ps(to, sum);
        else for (int k = 0; k < 16; ++k) to[k * where.by_input] = sum[k];
      }
    }
  });
}

void weight_gradient(const char* x, const char* dy, float* dw, const Weight& where, int64_t pictures, int64_t height,
                     int64_t width, int64_t stride) {
  const Line line(height, width, stride);
  const int64_t size = 9 * where.inputs * where.outputs, x_size = height * width, dy_size = line.rows * line.columns;
  const int64_t parts = std::min<int64_t>(size * 4 > kLargeSums ? 2 : kParts, pictures);
  Buffer<float> sums(parts * size);
  hillock::in_parallel(parts, [&](int64_t first, int64_t last) {
    Tiles tiles;
    Share share(line, where.inputs, where.outputs, (pictures + parts - 1) / parts);
    for (int64_t part = first; part < last; ++part) {
      const int64_t from = pictures * part / parts, to = pictures * (part + 1) / parts;
      share.add(x + from * x_size * where.inputs * 2, dy + from * dy_size * where.outputs * 2, to - from, &sums[part * size]);
    }
  });
  add_shares(sums, parts, dw, where);
}

}  // namespace

extern "C" {

int hillock_weight_gradient_available() { return permitted(); }

// x: [pictures, height, width, inputs], dy: [..., outputs], both bfloat16; dw: float32 [outputs, inputs, 3, 3] with the
// given strides. Channels are multiples of 16; the convolution's stride is 1 or 2. Callers ask `available` first.
void hillock_weight_gradient(const void* x, const void* dy, float* dw, int64_t pictures, int64_t height, int64_t width,
                             int64_t stride, int64_t outputs, int64_t inputs, int64_t by_output, int64_t by_input, int64_t by_row,
                             int64_t by_column) {
  Weight where{outputs, inputs, by_output, by_input, by_row, by_column};
  weight_gradient((const char*)x, (const char*)dy, dw, where, pictures, height, width, stride);
}
}

#else

extern "C" int hillock_weight_gradient_available() { return 0; }

#endif
