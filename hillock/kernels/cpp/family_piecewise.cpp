#include "exact.h"

namespace hillock {

void add_piecewise_family(std::vector<Kernel>& table) {
  table.push_back(exact_kernel<Softsign>("softsign"));
  table.push_back(exact_kernel<Hardswish>("hard_swish"));
  table.push_back(exact_kernel<Hardsigmoid>("hard_sigmoid", "", true));
  table.push_back(exact_kernel<Relu>("relu", "", true));
  table.push_back(exact_kernel<LeakyRelu, 1>("leaky_relu", "negative_slope", true));
  table.push_back(exact_kernel<LeakyRelu, 1>("prelu", "negative_slope", true));
  table.push_back(exact_kernel<Relu6>("relu6", "", true));
  table.push_back(exact_kernel<Hardtanh, 2>("hard_tanh", "low high", true));
}

}  // namespace hillock
