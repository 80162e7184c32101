// The bits of regions (kernel.h).
#include <algorithm>

#include "faithful.h"

namespace hillock {
namespace {

template <class Kind>
bool pack(const void* from, int64_t count, double low, double high, uint8_t* bits) {
  const auto* x = static_cast<const typename Kind::Storage*>(from);
  bool has_nan = false;
  int64_t i = 0;
#ifdef HILLOCK_TABLES
  if constexpr (!std::is_same_v<Kind, Float64>) {
    const Vector least = all(float(low)), most = all(float(high));
    Lanes nan = 0;
    for (; i + width <= count; i += width) {
      const Vector v = Memory<Kind>::load(x + i);
      const Lanes lanes = _mm512_mask_cmp_ps_mask(_mm512_cmp_ps_mask(v, least, _CMP_GE_OQ), v, most, _CMP_LE_OQ);
      nan = Lanes(nan | _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q));
      std::memcpy(bits + i / 8, &lanes, sizeof lanes);
    }
    has_nan = nan != 0;
  }
#endif
  for (; i < count; i += 8) {
    unsigned byte = 0;
    for (int64_t k = 0; k < std::min<int64_t>(8, count - i); ++k) {
      const double v = double(Kind::load(x[i + k]));
      byte |= unsigned((v >= low) & (v <= high)) << k;
      has_nan |= v != v;
    }
    bits[i / 8] = uint8_t(byte);
  }
  return has_nan;
}

template <class Kind>
void unpack(const uint8_t* bits, int64_t count, double outside, double inside, void* to) {
  using Storage = typename Kind::Storage;
  auto* y = static_cast<Storage*>(to);
  const Storage point[2] = {Kind::store(outside), Kind::store(inside)};
  int64_t i = 0;
#ifdef HILLOCK_TABLES
  if constexpr (!std::is_same_v<Kind, Float64>) {
    for (; i + width <= count; i += width) {
      Lanes lanes;
      std::memcpy(&lanes, bits + i / 8, sizeof lanes);
      Memory<Kind>::store(y + i, _mm512_mask_mov_ps(all(float(outside)), lanes, all(float(inside))));
    }
  }
#endif
  for (; i < count; ++i) y[i] = point[bits[i / 8] >> (i % 8) & 1];
}

template <class Call>
auto with_kind(Format format, Call call) {
  switch (format) {
    case float32: return call(Float32{});
    case bfloat16: return call(Bfloat16{});
    case float16: return call(Float16{});
    default: return call(Float64{});
  }
}

}  // namespace

bool pack_region(Format format, const void* x, int64_t count, double low, double high, uint8_t* bits) {
  return with_kind(format, [&]<class Kind>(Kind) { return pack<Kind>(x, count, low, high, bits); });
}

void unpack_region(Format format, const uint8_t* bits, int64_t count, double outside, double inside, void* stand_in) {
  with_kind(format, [&]<class Kind>(Kind) { unpack<Kind>(bits, count, outside, inside, stand_in); });
}

}  // namespace hillock
