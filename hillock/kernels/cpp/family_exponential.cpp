#include "exact.h"

namespace hillock {

void add_exponential_family(std::vector<Kernel>& table) {
  table.push_back(exact_kernel<Softplus, 2>("softplus", "beta threshold"));
  table.push_back(exact_kernel<Elu, 1>("elu", "alpha"));
  table.push_back(exact_kernel<Celu, 1>("celu", "alpha"));
  table.push_back(exact_kernel<Selu>("selu"));
  table.push_back(exact_kernel<Su>("su"));
}

}  // namespace hillock
