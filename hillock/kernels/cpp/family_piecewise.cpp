#include "single.h"

namespace hillock {

void add_piecewise_family(std::vector<Kernel>& table) {
  constexpr auto always = [](const double*) { return true; };
  constexpr auto is_single = [](const double* constants) { return constants[0] == float(constants[0]); };
  constexpr auto are_single = [](const double* constants) {
    return constants[0] == float(constants[0]) && constants[1] == float(constants[1]);
  };
  table.push_back(single_kernel<Softsign, single::Softsign>("softsign"));
  table.push_back(single_kernel<Hardswish, single::Hardswish, 0, always, single::HardswishBrief>("hard_swish"));
  table.push_back(single_kernel<Hardsigmoid, single::HardsigmoidOf<6>>("hard_sigmoid", "", true));
  table.push_back(single_kernel<Relu, single::Relu>("relu", "", true));
  table.push_back(single_kernel<LeakyRelu, single::LeakyRelu, 1>("leaky_relu", "negative_slope", true));
  table.push_back(single_kernel<LeakyRelu, single::LeakyRelu, 1>("prelu", "negative_slope", true));
  table.push_back(single_kernel<Relu6, single::Relu6>("relu6", "", true));
  table.push_back(single_kernel<Hardtanh, single::Hardtanh, 2, are_single>("hard_tanh", "low high", true));
  table.push_back(single_kernel<SquaredRelu, single::SquaredRelu>("squared_relu"));
  table.push_back(single_kernel<SoftShrink, single::SoftShrink, 1, is_single>("soft_shrink", "threshold", true));
  table.push_back(single_kernel<HardShrink, single::HardShrink, 1, is_single>("hard_shrink", "threshold", true));
  table.push_back(single_kernel<Threshold, single::Threshold, 2, are_single>("threshold", "threshold replacement", true));
  table.push_back(single_kernel<HardsigmoidKeras, single::HardsigmoidOf<5>>("hard_sigmoid_keras", "", true));
  table.push_back(single_kernel<HardsigmoidBinaryConnect, single::HardsigmoidBinaryConnect>(
      "hard_sigmoid_binary_connect", "", true));
}

}  // namespace hillock
