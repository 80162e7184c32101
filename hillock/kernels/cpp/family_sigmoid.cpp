// Functions made of the logistic function or the hyperbolic tangent.
#include "tails.h"

namespace hillock {

void add_sigmoid_family(std::vector<Kernel>& table) {
#ifdef HILLOCK_TABLES
  using namespace tables;
  constexpr auto beta_is_one = [](const double* constants) { return constants[0] == 1.0; };
  using Silus = Gate<sigmoid_tail, tails::Sigmoid<true>, true>;
  using SiluSlope = Gate<silu_slope_tail, tails::SiluSlope, false>;
  table.push_back(table_kernel<Sigmoid, Gate<sigmoid_tail, tails::Sigmoid<false>, false>,
                               Even<sigmoid_slope, tails::SigmoidSlope<1, 0>>>("sigmoid"));
  table.push_back(table_kernel<Silu, Silus, SiluSlope>("silu"));
  table.push_back(table_kernel<Swish, Silus, SiluSlope, 1, beta_is_one>("swish", "beta"));
  table.push_back(table_kernel<GeluSigmoid, Gate<gelu_sigmoid_tail, tails::GeluSigmoid, true>,
                               Gate<gelu_sigmoid_slope_tail, tails::GeluSigmoidSlope, false>>("gelu_sigmoid"));
  table.push_back(table_kernel<Tanh, Even<tanh_over_x, tails::ToOne>, Even<tanh_slope, tails::SigmoidSlope<2, 2>>>("tanh"));
  table.push_back(table_kernel<LogSigmoid, Plain<softplus, tails::Softplus<true>, true>,
                               Gate<sigmoid_tail, tails::Sigmoid<true, true>, false, true>>("log_sigmoid"));
#else
  table.push_back(exact_kernel<Sigmoid>("sigmoid"));
  table.push_back(exact_kernel<Silu>("silu"));
  table.push_back(exact_kernel<Swish, 1>("swish", "beta"));
  table.push_back(exact_kernel<GeluSigmoid>("gelu_sigmoid"));
  table.push_back(exact_kernel<Tanh>("tanh"));
  table.push_back(exact_kernel<LogSigmoid>("log_sigmoid"));
#endif
  table.push_back(exact_kernel<Tanhshrink>("tanh_shrink"));
  table.push_back(exact_kernel<LecunTanh>("lecun_tanh"));
  table.push_back(exact_kernel<SymmetricalSigmoid>("symmetrical_sigmoid"));
  table.push_back(exact_kernel<PenalisedTanh, 1>("penalised_tanh", "negative_slope"));
}

}  // namespace hillock
