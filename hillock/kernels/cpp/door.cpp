// The door to torch: for every function four operators with its own constants as arguments,
//
//     hillock::NAME(Tensor x, float...) -> Tensor                  hillock::NAME_backward(Tensor g, Tensor x, float...)
//     hillock::NAME_exact(...)                                      hillock::NAME_exact_backward(...)
//
// two that write into a given tensor (forward_out, backward_out), and for functions with two slopes two that keep bits
// in place of the input (region_bits, backward_of_bits). One dispatcher call each; dtype, layout and threads are settled here, not in Python.
#include <ATen/EmptyTensor.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <tuple>

#include "kernel.h"

namespace hillock {

void in_parallel(int64_t count, const std::function<void(int64_t, int64_t)>& body) {
  at::parallel_for(0, count, 1, body);
}

namespace {

// A thread is worth waking for this many elements; results larger than this many bytes bypass the caches.
constexpr int64_t grain = 32768;
constexpr int64_t stream_bytes = int64_t(24) << 20;

const std::vector<Kernel>& kernels() {
  static const std::vector<Kernel> table = [] {
    std::vector<Kernel> all;
    add_sigmoid_family(all);
    add_normal_family(all);
    add_exponential_family(all);
    add_piecewise_family(all);
    return all;
  }();
  return table;
}

const Kernel& find(const std::string& name) {
  for (const Kernel& kernel : kernels())
    if (name == kernel.name) return kernel;
  TORCH_CHECK_VALUE(false, "hillock has no native kernel named '", name, "'");
}

Format format_of(at::ScalarType type) {
  switch (type) {
    case at::kFloat: return float32;
    case at::kBFloat16: return bfloat16;
    case at::kHalf: return float16;
    case at::kDouble: return float64;
    default: TORCH_CHECK_TYPE(false, "hillock's kernels take float32, bfloat16, float16 or float64, got ", type);
  }
}

at::Tensor like(const at::Tensor& x) {
  if (!x.device().is_cpu() || !x.is_non_overlapping_and_dense()) return at::empty_like(x);
  return at::Tensor(at::detail::empty_strided_cpu(x.sizes(), x.strides(), x.scalar_type()));
}

// x laid out in memory as y is; x itself where that already holds.
at::Tensor laid_out_as(const at::Tensor& y, const at::Tensor& x) {
  if (x.strides() == y.strides() || (x.is_contiguous() && y.is_contiguous())) return x;
  return at::empty_like(y).copy_(x);
}

void check_gradient(const at::Tensor& g, const at::Tensor& x) {
  TORCH_CHECK_VALUE(g.sizes() == x.sizes(), "expected a gradient of shape ", x.sizes(), ", got ", g.sizes());
  TORCH_CHECK_TYPE(g.scalar_type() == x.scalar_type(), "expected a gradient of ", x.scalar_type(), ", got ",
                   g.scalar_type());
}

void run_forward(const Kernel& kernel, Precision precision, const double* constants, const at::Tensor& from,
                 const at::Tensor& y) {
  const at::Tensor x = laid_out_as(y, from);
  const Forward forward = kernel.forward[format_of(x.scalar_type())][precision];
  const int64_t size = x.element_size(), count = x.numel();
  const char* in = static_cast<const char*>(x.const_data_ptr());
  char* out = static_cast<char*>(y.mutable_data_ptr());
  const bool stream = count * size > stream_bytes && in != out;
  at::parallel_for(0, count, grain, [&](int64_t begin, int64_t end) {
    forward(in + begin * size, out + begin * size, end - begin, constants, stream);
  });
}

void run_backward(const Kernel& kernel, Precision precision, const double* constants, const at::Tensor& gradient,
                  const at::Tensor& from, const at::Tensor& y) {
  const at::Tensor x = laid_out_as(y, from), g = laid_out_as(y, gradient);
  const Backward backward = kernel.backward[format_of(x.scalar_type())][precision];
  const int64_t size = x.element_size(), count = x.numel();
  const char* slope_in = static_cast<const char*>(x.const_data_ptr());
  const char* in = static_cast<const char*>(g.const_data_ptr());
  char* out = static_cast<char*>(y.mutable_data_ptr());
  const bool stream = count * size > stream_bytes && in != out && slope_in != out;
  at::parallel_for(0, count, grain, [&](int64_t begin, int64_t end) {
    backward(in + begin * size, slope_in + begin * size, out + begin * size, end - begin, constants, stream);
  });
}

// A boxed kernel: torch's Python call hands over the stack of arguments as it is.
struct Operator final : c10::OperatorKernel {
  Operator(const Kernel& kernel_, Precision precision_, bool backward_)
      : kernel(kernel_), precision(precision_), backward(backward_), count(count_words(kernel_.parameters)) {}

  static int count_words(const char* text) {
    int words = *text != 0;
    for (; *text; ++text) words += *text == ' ';
    return words;
  }

  void operator()(const c10::OperatorHandle&, c10::DispatchKeySet, torch::jit::Stack* stack) {
    double constants[8];
    for (int k = 0; k < count; ++k) constants[k] = torch::jit::peek(*stack, k, count).toDouble();
    torch::jit::drop(*stack, count);
    at::Tensor x = torch::jit::pop(*stack).toTensor();
    at::Tensor y = like(x);
    if (backward) {
      const at::Tensor g = torch::jit::pop(*stack).toTensor();
      check_gradient(g, x);
      if (x.device().is_cpu()) run_backward(kernel, precision, constants, g, x, y);
    } else if (x.device().is_cpu()) {
      run_forward(kernel, precision, constants, x, y);
    }
    torch::jit::push(*stack, std::move(y));
  }

  const Kernel& kernel;
  Precision precision;
  bool backward;
  int count;
};

std::string arguments(const Kernel& kernel) {
  std::string text, word;
  for (const char* c = kernel.parameters;; ++c) {
    if (*c && *c != ' ') {
      word += *c;
      continue;
    }
    if (!word.empty()) text += ", float " + word;
    word.clear();
    if (!*c) return text;
  }
}

at::Tensor& forward_out(c10::string_view name, const at::Tensor& x, at::ArrayRef<double> constants, bool is_exact,
                        at::Tensor& out) {
  check_gradient(out, x);
  TORCH_CHECK_VALUE(out.is_non_overlapping_and_dense(), "expected an output without holes or overlaps");
  run_forward(find(std::string(name)), is_exact ? exact : faithful, constants.data(), x, out);
  return out;
}

at::Tensor& backward_out(c10::string_view name, const at::Tensor& g, const at::Tensor& x,
                         at::ArrayRef<double> constants, bool is_exact, at::Tensor& out) {
  check_gradient(g, x);
  check_gradient(out, x);
  TORCH_CHECK_VALUE(out.is_non_overlapping_and_dense(), "expected an output without holes or overlaps");
  run_backward(find(std::string(name)), is_exact ? exact : faithful, constants.data(), g, x, out);
  return out;
}

// Which elements of x, in the order of memory, lie in low ... high, a bit each; and whether there is a NaN.
std::tuple<at::Tensor, bool> region_bits(const at::Tensor& x, double low, double high) {
  TORCH_CHECK_VALUE(x.is_non_overlapping_and_dense(), "expected an input without holes or overlaps");
  const Format format = format_of(x.scalar_type());
  const int64_t size = x.element_size(), count = x.numel();
  at::Tensor bits = at::empty({(count + 7) / 8}, at::kByte);
  const char* in = static_cast<const char*>(x.const_data_ptr());
  uint8_t* out = bits.mutable_data_ptr<uint8_t>();
  std::atomic<bool> has_nan{false};
  at::parallel_for(0, (count + region_block - 1) / region_block, grain / region_block, [&](int64_t first, int64_t last) {
    const int64_t begin = first * region_block, end = std::min(last * region_block, count);
    if (pack_region(format, in + begin * size, end - begin, low, high, out + begin / 8)) has_nan = true;
  });
  return {bits, has_nan.load()};
}

// The gradient that a function gives where its input is `inside` (bit 1) or `outside`; `out` has the input's layout.
at::Tensor& backward_of_bits(c10::string_view name, const at::Tensor& gradient, const at::Tensor& bits, double outside,
                             double inside, at::ArrayRef<double> constants, bool is_exact, at::Tensor& out) {
  check_gradient(gradient, out);
  const int64_t size = out.element_size(), count = out.numel();
  TORCH_CHECK_VALUE(bits.scalar_type() == at::kByte && bits.is_contiguous() && bits.numel() == (count + 7) / 8,
                    "expected ", (count + 7) / 8, " bytes of bits");
  const at::Tensor g = laid_out_as(out, gradient);
  const Format format = format_of(out.scalar_type());
  const Backward backward = find(std::string(name)).backward[format][is_exact ? exact : faithful];
  const char* in = static_cast<const char*>(g.const_data_ptr());
  const uint8_t* packed = bits.const_data_ptr<uint8_t>();
  char* to = static_cast<char*>(out.mutable_data_ptr());
  at::parallel_for(0, (count + region_block - 1) / region_block, grain / region_block, [&](int64_t first, int64_t last) {
    alignas(64) char stand_in[region_block * sizeof(double)];
    for (int64_t i = first * region_block; i < std::min(last * region_block, count); i += region_block) {
      const int64_t n = std::min(region_block, count - i);
      unpack_region(format, packed + i / 8, n, outside, inside, stand_in);
      backward(in + i * size, stand_in, to + i * size, n, constants.data(), false);
    }
  });
  return out;
}

// The functions of this library as "name parameter parameter ...", a line each.
std::string listing() {
  std::string text;
  for (const Kernel& kernel : kernels()) {
    text += kernel.name;
    if (*kernel.parameters) text += std::string(" ") + kernel.parameters;
    if (kernel.bits) text += " !bits";
    if (kernel.tables) text += " !tables";
    if (kernel.single) text += " !single";
    text += "\n";
  }
  return text;
}

TORCH_LIBRARY_FRAGMENT(hillock, library) {
  library.def("forward_out(str name, Tensor x, float[] constants, bool exact, *, Tensor(a!) out) -> Tensor(a!)");
  library.def("backward_out(str name, Tensor g, Tensor x, float[] constants, bool exact, *, Tensor(a!) out) -> Tensor(a!)");
  library.def("region_bits(Tensor x, float low, float high) -> (Tensor, bool)");
  library.def(
      "backward_of_bits(str name, Tensor g, Tensor bits, float outside, float inside, float[] constants, bool exact, *, "
      "Tensor(a!) out) -> Tensor(a!)");
  library.def("listing() -> str", listing);
  library.impl("forward_out", torch::dispatch(c10::DispatchKey::CPU, forward_out));
  library.impl("backward_out", torch::dispatch(c10::DispatchKey::CPU, backward_out));
  library.impl("region_bits", torch::dispatch(c10::DispatchKey::CPU, region_bits));
  library.impl("backward_of_bits", torch::dispatch(c10::DispatchKey::CPU, backward_of_bits));
  for (const Kernel& kernel : kernels())
    for (const Precision precision : {faithful, exact})
      for (const bool backward : {false, true}) {
        const std::string name =
            std::string(kernel.name) + (precision == exact ? "_exact" : "") + (backward ? "_backward" : "");
        const std::string tensors = backward ? "(Tensor g, Tensor x" : "(Tensor x";
        library.def((name + tensors + arguments(kernel) + ") -> Tensor").c_str());
        for (const c10::DispatchKey key : {c10::DispatchKey::CPU, c10::DispatchKey::Meta})
          library.impl(name.c_str(),
                       torch::dispatch(key, torch::CppFunction::makeFromBoxedFunctor(
                                                std::make_unique<Operator>(kernel, precision, backward))));
      }
}

}  // namespace
}  // namespace hillock
