#include "exact.h"

namespace hillock {

void add_normal_family(std::vector<Kernel>& table) {
  table.push_back(exact_kernel<Gelu>("gelu"));
  table.push_back(exact_kernel<GeluTanh>("gelu_tanh"));
  table.push_back(exact_kernel<Mish>("mish"));
}

}  // namespace hillock
