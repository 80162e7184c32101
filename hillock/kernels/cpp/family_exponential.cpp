// Lines bent by an exponential.
#include "tails.h"

namespace hillock {

void add_exponential_family(std::vector<Kernel>& table) {
#ifdef HILLOCK_TABLES
  using namespace tables;
  constexpr long double selu_left = Selu::scale * Selu::alpha;
  constexpr auto is_unit = [](const double* constants) { return constants[0] == 1.0; };
  constexpr auto is_plain = [](const double* constants) { return constants[0] == 1.0 && constants[1] >= 8.5; };
  using EluValue = Half<elu_over_x, tails::Expm1<1.0L>, true>;
  using EluSlope = Half<exponential_left, tails::Exponential<1.0L>, false>;
  table.push_back(table_kernel<Softplus, Plain<softplus, tails::Softplus<>>,
                               Gate<sigmoid_tail, tails::Sigmoid<true>, false>, 2, is_plain>(
      "softplus", "beta threshold"));
  table.push_back(table_kernel<Elu, EluValue, EluSlope, 1, is_unit>("elu", "alpha"));
  table.push_back(table_kernel<Celu, EluValue, EluSlope, 1, is_unit>("celu", "alpha"));
  table.push_back(table_kernel<Selu, Half<selu_over_x, tails::Expm1<selu_left>, true, Selu::scale>,
                               Half<selu_slope, tails::Exponential<selu_left>, false, Selu::scale>>("selu"));
  table.push_back(table_kernel<Su, Half<exponential_left, tails::Exponential<1.0L>, true>, Half<su_slope, tails::SuSlope, false>>(
      "su"));
#else
  table.push_back(exact_kernel<Softplus, 2>("softplus", "beta threshold"));
  table.push_back(exact_kernel<Elu, 1>("elu", "alpha"));
  table.push_back(exact_kernel<Celu, 1>("celu", "alpha"));
  table.push_back(exact_kernel<Selu>("selu"));
  table.push_back(exact_kernel<Su>("su"));
#endif
  table.push_back(exact_kernel<ComplementaryLogLog>("complementary_log_log"));
  table.push_back(exact_kernel<Gaussian>("gaussian"));
  table.push_back(exact_kernel<Elish>("elish"));
}

}  // namespace hillock
