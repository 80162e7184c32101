#include "exact.h"

namespace hillock {

void add_sigmoid_family(std::vector<Kernel>& table) {
  table.push_back(exact_kernel<Sigmoid>("sigmoid"));
  table.push_back(exact_kernel<LogSigmoid>("log_sigmoid"));
  table.push_back(exact_kernel<Silu>("silu"));
  table.push_back(exact_kernel<Swish, 1>("swish", "beta"));
  table.push_back(exact_kernel<GeluSigmoid>("gelu_sigmoid"));
  table.push_back(exact_kernel<Tanh>("tanh"));
  table.push_back(exact_kernel<Tanhshrink>("tanhshrink"));
}

}  // namespace hillock
