// What lies between the door (torch) and the kernels (plain C++): a table of functions over plain memory.
// A kernel file includes no torch header, so that it compiles quickly and beside the others.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace hillock {

enum Format : int { float32 = 0, bfloat16 = 1, float16 = 2, float64 = 3, formats = 4 };
enum Precision : int { faithful = 0, exact = 1, precisions = 2 };

// Results go from `x` (and `g`) to `y`, `count` elements each; y may be x or g itself. `stream`: the result is larger
// than the caches, so it is written past them.
using Forward = void (*)(const void* x, void* y, int64_t count, const double* constants, bool stream);
using Backward = void (*)(const void* g, const void* x, void* y, int64_t count, const double* constants, bool stream);

struct Kernel {
  const char* name;        // the activation's name in the catalogue
  const char* parameters;  // its constants in order, separated by spaces; "" for none
  bool bits;               // piecewise linear with two slopes: one bit per element is enough for backward
  bool tables;             // `faithful` has tables here
  bool single;             // `faithful` is float32 without tables; without either it is the float64 path, as `exact` is
  Forward forward[formats][precisions];
  Backward backward[formats][precisions];
};

// One bit an element in place of the input, for functions with two slopes: whether it lies in the region of one of them.
// Backward turns the bits, a block at a time, into a stand-in: one point of either region. Bit k of byte i is element 8i+k.
constexpr int64_t region_block = 2048;  // elements of a stand-in: they stay in the first cache

// Packs `count` elements, the last byte filled up with zeros; returns whether one of them is a NaN.
bool pack_region(Format format, const void* x, int64_t count, double low, double high, uint8_t* bits);

// Writes `inside` where the bit is 1 and `outside` elsewhere.
void unpack_region(Format format, const uint8_t* bits, int64_t count, double outside, double inside, void* stand_in);

// Runs body(first, last) over 0 ... count on torch's own threads, each task being worth a thread.
void in_parallel(int64_t count, const std::function<void(int64_t, int64_t)>& body);

// One per kernel file.
void add_sigmoid_family(std::vector<Kernel>& table);
void add_normal_family(std::vector<Kernel>& table);
void add_exponential_family(std::vector<Kernel>& table);
void add_piecewise_family(std::vector<Kernel>& table);

}  // namespace hillock
