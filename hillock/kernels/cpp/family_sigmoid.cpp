// Functions made of the logistic function or the hyperbolic tangent.
#include "faithful.h"

namespace hillock {

void add_sigmoid_family(std::vector<Kernel>& table) {
#ifdef HILLOCK_TABLES
  using namespace tables;
  constexpr auto beta_is_one = [](const double* constants) { return constants[0] == 1.0; };
  using Silus = Gate<sigmoid_tail, true>;
  using SiluSlope = Gate<silu_slope_tail, false>;
  table.push_back(table_kernel<Sigmoid, Gate<sigmoid_tail, false>, Even<sigmoid_slope>>("sigmoid"));
  table.push_back(table_kernel<Silu, Silus, SiluSlope>("silu"));
  table.push_back(table_kernel<Swish, Silus, SiluSlope, 1, beta_is_one>("swish", "beta"));
  table.push_back(table_kernel<GeluSigmoid, Gate<gelu_sigmoid_tail, true>, Gate<gelu_sigmoid_slope_tail, false>>(
      "gelu_sigmoid"));
  table.push_back(table_kernel<Tanh, Even<tanh_over_x>, Even<tanh_slope>>("tanh"));
#else
  table.push_back(exact_kernel<Sigmoid>("sigmoid"));
  table.push_back(exact_kernel<Silu>("silu"));
  table.push_back(exact_kernel<Swish, 1>("swish", "beta"));
  table.push_back(exact_kernel<GeluSigmoid>("gelu_sigmoid"));
  table.push_back(exact_kernel<Tanh>("tanh"));
#endif
  table.push_back(exact_kernel<LogSigmoid>("log_sigmoid"));
  table.push_back(exact_kernel<Tanhshrink>("tanh_shrink"));
}

}  // namespace hillock
