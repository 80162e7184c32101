// The input times a gate that is, or resembles, the normal distribution function.
#include "tails.h"

namespace hillock {

void add_normal_family(std::vector<Kernel>& table) {
#ifdef HILLOCK_TABLES
  using namespace tables;
  table.push_back(table_kernel<Gelu, GateToOne<gelu_tail, tails::Gelu>, GateToOne<gelu_slope_tail, tails::GeluSlope>>("gelu"));
  table.push_back(table_kernel<GeluTanh, GateToOne<gelu_tanh_tail, tails::GeluTanh>,
                               GateToOne<gelu_tanh_slope_tail, tails::GeluTanhSlope>>("gelu_tanh"));
  table.push_back(table_kernel<Mish, Signed<mish_gate, tails::Mish>, Signed<mish_slope, tails::MishSlope>>("mish"));
#else
  table.push_back(exact_kernel<Gelu>("gelu"));
  table.push_back(exact_kernel<GeluTanh>("gelu_tanh"));
  table.push_back(exact_kernel<Mish>("mish"));
#endif
}

}  // namespace hillock
