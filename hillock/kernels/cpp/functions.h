// The activation functions, a few lines each: value(x, constants) and slope(x, constants) for double (everything but
// float64 data) and long double (float64 data). n stands for exp(-|x|): no exponential of a positive number is taken,
// so nothing overflows, and no difference of nearly equal numbers is formed.
#pragma once

#include "cores.h"

namespace hillock {

template <class T>
inline T logistic(T x, T n) {
  const T r = reciprocal(T(1) + n);
  return x >= T(0) ? r : n * r;
}

// σ(x) + x σ'(x): the derivative of SiLU and, with x = βu, of Swish.
template <class T>
inline T silu_slope(T x) {
  x = at_most(at_least(x, -far<T>), far<T>);
  const T n = exponential(-magnitude(x));
  const T r = reciprocal(T(1) + n);
  const T slope = (x >= T(0) ? r : n * r) + x * n * (r * r);
  return near_root(x, slope, polynomials::silu_root, polynomials::silu_root_high, polynomials::silu_root_low);
}

struct Sigmoid {
  template <class T>
  static T value(T x, const T*) { return logistic(x, exponential(-magnitude(x))); }
  template <class T>
  static T slope(T x, const T*) {
    const T n = exponential(-magnitude(x));
    const T r = reciprocal(T(1) + n);
    return n * r * r;
  }
};

struct LogSigmoid {  // min(x, 0) - log(1 + n)
  template <class T>
  static T value(T x, const T*) { return at_most(x, T(0)) - log_1_plus(exponential(-magnitude(x))); }
  template <class T>
  static T slope(T x, const T*) { return logistic(-x, exponential(-magnitude(x))); }
};

struct Softplus {  // log(1 + exp(βx))/β; x itself where βx is above the threshold
  template <class T>
  static T value(T x, const T* constant) {
    const T u = constant[0] * x;
    const T y = (at_least(u, T(0)) + log_1_plus(exponential(-magnitude(u)))) / constant[0];
    return u > constant[1] ? x : y;
  }
  template <class T>
  static T slope(T x, const T* constant) {
    const T u = constant[0] * x;
    return u > constant[1] ? T(1) : logistic(u, exponential(-magnitude(u)));
  }
};

struct Silu {
  template <class T>
  static T value(T x, const T*) {
    x = at_least(x, -far<T>);
    return x * logistic(x, exponential(-magnitude(x)));
  }
  template <class T>
  static T slope(T x, const T*) { return silu_slope(x); }
};

struct Swish {  // x σ(βx)
  template <class T>
  static T value(T x, const T* constant) {
    const T u = constant[0] * at_most(at_least(x, T(-1e300)), T(1e300));
    const T y = x * logistic(u, exponential(-magnitude(u)));
    return u < -far<T> ? copy_sign(T(0), x) : y;
  }
  template <class T>
  static T slope(T x, const T* constant) {
    return silu_slope(constant[0] * at_most(at_least(x, T(-1e300)), T(1e300)));
  }
};

struct GeluSigmoid {  // x σ(1.702 x)
  template <class T>
  static T value(T x, const T*) {
    x = at_least(x, -far<T>);
    const T u = T(1.702L) * x;
    return x * logistic(u, exponential(-magnitude(u)));
  }
  template <class T>
  static T slope(T x, const T*) { return silu_slope(T(1.702L) * x); }
};

struct Tanh {
  template <class T>
  static T value(T x, const T*) {
    const T e = exponential_minus_1(T(-2) * magnitude(x));
    return copy_sign(-e * reciprocal(e + T(2)), x);
  }
  template <class T>
  static T slope(T x, const T*) {  // 4n/(1 + n)² with n = exp(-2|x|)
    const T n = exponential(T(-2) * magnitude(x));
    const T r = reciprocal(T(1) + n);
    return T(4) * n * r * r;
  }
};

struct LecunTanh {  // 1.7159 tanh(2x/3)
  template <class T>
  static T value(T x, const T* constant) { return T(1.7159L) * Tanh::value(T(2.0L / 3) * x, constant); }
  template <class T>
  static T slope(T x, const T* constant) { return T(1.7159L * 2 / 3) * Tanh::slope(T(2.0L / 3) * x, constant); }
};

struct SymmetricalSigmoid {  // tanh(x/2)
  template <class T>
  static T value(T x, const T* constant) { return Tanh::value(T(0.5) * x, constant); }
  template <class T>
  static T slope(T x, const T* constant) { return T(0.5) * Tanh::slope(T(0.5) * x, constant); }
};

struct PenalisedTanh {  // smaller by a factor below 0
  template <class T>
  static T value(T x, const T* constant) { return (x > T(0) ? T(1) : constant[0]) * Tanh::value(x, constant); }
  template <class T>
  static T slope(T x, const T* constant) { return (x > T(0) ? T(1) : constant[0]) * Tanh::slope(x, constant); }
};

struct ComplementaryLogLog {  // 1 - exp(-exp(x)), which is 1 to the last bit from x = 4 on
  template <class T>
  static T value(T x, const T*) { return -exponential_minus_1(-exponential(at_most(x, T(6)))); }
  template <class T>
  static T slope(T x, const T*) {
    const T n = exponential(at_most(x, is_wide<T> ? T(7) : T(6)));
    return n * exponential(-n);
  }
};

struct Gaussian {  // exp(-x²)
  template <class T>
  static T value(T x, const T*) { return exponential(-at_most(x * x, far<T>)); }
  template <class T>
  static T slope(T x, const T*) {
    x = at_most(at_least(x, T(-40)), T(40));
    return T(-2) * x * exponential(-x * x);
  }
};

// x - tanh x below 1/4, by its series; the ratio of the terms is below 0.026.
inline constexpr long double tanhshrink_series[] = {
    1.0L / 3,           -2.0L / 15,           17.0L / 315,           -62.0L / 2835,         1382.0L / 155925,
    -21844.0L / 6081075, 929569.0L / 638512875, -6404582.0L / 10854718875, 443861162.0L / 1856156927625,
    -18888466084.0L / 194896477400625, 113927491862.0L / 2900518163668125, -58870668456604.0L / 3698160658676859375};

struct Tanhshrink {
  template <class T>
  static T value(T x, const T* constant) {
    const T square = x * x;
    const T series = x * square * horner<is_wide<T> ? 12 : 9>(&tanhshrink_series[0], square);
    return magnitude(x) < T(0.25) ? series : x - Tanh::value(x, constant);
  }
  template <class T>
  static T slope(T x, const T* constant) {
    const T t = Tanh::value(x, constant);
    return t * t;
  }
};

struct Mish {  // x tanh(log(1 + e^x)) = x a/d
  template <class T>
  static T value(T x, const T*) {
    x = at_least(x, -far<T>);
    const T n = exponential(-magnitude(x));
    const T a = x >= T(0) ? T(1) + T(2) * n : n * (n + T(2));
    const T d = x >= T(0) ? a + T(2) * n * n : a + T(2);
    return x * (a * reciprocal(d));
  }
  template <class T>
  static T slope(T x, const T*) {
    x = at_most(at_least(x, -far<T>), far<T>);
    const T n = exponential(-magnitude(x));
    const T a = x >= T(0) ? T(1) + T(2) * n : n * (n + T(2));
    const T over = reciprocal(x >= T(0) ? a + T(2) * n * n : a + T(2));
    const T bend = T(4) * x * n * (T(1) + n) * (x >= T(0) ? n : T(1));
    const T slope = over * (a + bend * over);
    return near_root(x, slope, polynomials::mish_root, polynomials::mish_root_high, polynomials::mish_root_low);
  }
};

struct Gelu {  // x Φ(x)
  template <class T>
  static T value(T x, const T*) {
    x = at_least(x, is_wide<T> ? T(-50) : T(-17));
    const T tail = normal(magnitude(x)).tail;
    return x * (x >= T(0) ? T(1) - tail : tail);
  }
  template <class T>
  static T slope(T x, const T*) {
    const T a = at_most(magnitude(x), is_wide<T> ? T(50) : T(17));
    const Normal<T> at = normal(a);
    const T z = a * at.density - at.tail;
    const T slope = x >= T(0) ? T(1) + z : -z;
    return near_root(x, slope, polynomials::gelu_root, polynomials::gelu_root_high, polynomials::gelu_root_low);
  }
};

struct GeluTanh {  // x/2 (1 + tanh u) = x σ(2u), u = √(2/π)(x + 0.044715 x³)
  template <class T>
  static constexpr T edge = is_wide<T> ? T(60) : T(14);
  template <class T>
  static T inner(T x) { return T(1.59576912160573071175978423973752747L) * fma(T(0.044715L) * x * x, x, x); }
  template <class T>
  static T value(T x, const T*) {
    const T low = at_least(x, -edge<T>);
    const T u = inner(at_most(low, edge<T>));
    return low * logistic(u, exponential(-magnitude(u)));
  }
  template <class T>
  static T slope(T x, const T*) {
    x = at_most(at_least(x, -edge<T>), edge<T>);
    const T u = inner(x);
    const T n = exponential(-magnitude(u));
    const T r = reciprocal(T(1) + n);
    const T inner_slope = T(1.59576912160573071175978423973752747L) * fma(T(0.134145L) * x, x, T(1));
    const T slope = (x >= T(0) ? r : n * r) + x * inner_slope * n * (r * r);
    return near_root(x, slope, polynomials::gelu_tanh_root, polynomials::gelu_tanh_root_high,
                     polynomials::gelu_tanh_root_low);
  }
};

struct Elu {  // α(e^x - 1) below 0; the derivative at 0 is the left one
  template <class T>
  static T value(T x, const T* constant) { return x >= T(0) ? x : constant[0] * exponential_minus_1(x); }
  template <class T>
  static T slope(T x, const T* constant) { return x > T(0) ? T(1) : constant[0] * exponential(x); }
};

struct Celu {  // α(e^(x/α) - 1) below 0
  template <class T>
  static T value(T x, const T* constant) {
    return x >= T(0) ? x : constant[0] * exponential_minus_1(x / constant[0]);
  }
  template <class T>
  static T slope(T x, const T* constant) { return x > T(0) ? T(1) : exponential(x / constant[0]); }
};

struct Selu {
  static constexpr long double scale = 1.0507009873554804934193349852946L;
  static constexpr long double alpha = 1.6732632423543772848170429916717L;
  template <class T>
  static T value(T x, const T*) {
    return x >= T(0) ? T(scale) * x : T(scale * alpha) * exponential_minus_1(x);
  }
  template <class T>
  static T slope(T x, const T*) { return x > T(0) ? T(scale) : T(scale * alpha) * exponential(x); }
};

struct Elish {  // x σ(x) above 0, (e^x - 1) σ(x) below
  template <class T>
  static T value(T x, const T*) {
    const T n = exponential(-magnitude(x));
    const T r = reciprocal(T(1) + n);
    return copy_sign(x > T(0) ? x * r : exponential_minus_1(x) * n * r, x);
  }
  template <class T>
  static T slope(T x, const T*) {
    const T n = exponential(-magnitude(x));
    const T r = reciprocal(T(1) + n), below = n * (n * n + T(2) * n - T(1)) * (r * r);
    const T left =
        near_root(x, below, polynomials::elish_root, polynomials::elish_root_high, polynomials::elish_root_low);
    return x > T(0) ? silu_slope(x) : left;
  }
};

struct Softsign {
  template <class T>
  static T value(T x, const T*) {
    x = at_most(at_least(x, T(-1e308)), T(1e308));
    return x / (T(1) + magnitude(x));
  }
  template <class T>
  static T slope(T x, const T*) {
    const T d = T(1) + magnitude(x);
    return T(1) / (d * d);
  }
};

struct Su {  // max(x, x e^-|x|)
  template <class T>
  static T value(T x, const T*) {
    const T low = at_least(x, -far<T>);
    return x >= T(0) ? x : low * exponential(low);
  }
  template <class T>
  static T slope(T x, const T*) {
    const T low = at_least(x, -far<T>);
    return x >= T(0) ? T(1) : (T(1) + low) * exponential(low);
  }
};

struct Hardsigmoid {  // (x + 3)/6 held to [0, 1]
  template <class T>
  static T value(T x, const T*) { return at_most(at_least(x + T(3), T(0)), T(6)) / T(6); }
  template <class T>
  static T slope(T x, const T*) { return nan_through(x, x > T(-3) && x < T(3) ? T(1) / T(6) : T(0)); }
};

struct HardsigmoidKeras {  // x/5 + 1/2 held to [0, 1]
  template <class T>
  static T value(T x, const T*) { return at_most(at_least(x + T(2.5), T(0)), T(5)) / T(5); }
  template <class T>
  static T slope(T x, const T*) { return nan_through(x, x > T(-2.5) && x < T(2.5) ? T(1) / T(5) : T(0)); }
};

struct HardsigmoidBinaryConnect {  // (x + 1)/2 held to [0, 1]
  template <class T>
  static T value(T x, const T*) { return at_most(at_least(x + T(1), T(0)), T(2)) * T(0.5); }
  template <class T>
  static T slope(T x, const T*) { return nan_through(x, x > T(-1) && x < T(1) ? T(0.5) : T(0)); }
};

struct Hardswish {  // x (x + 3)/6 with the second factor held to [0, 1]
  template <class T>
  static T value(T x, const T*) {
    x = at_least(x, T(-3));
    return x * (at_most(x + T(3), T(6)) / T(6));
  }
  template <class T>
  static T slope(T x, const T*) { return x >= T(3) ? T(1) : x <= T(-3) ? T(0) : (T(2) * x + T(3)) / T(6); }
};

struct Relu {
  template <class T>
  static T value(T x, const T*) { return x <= T(0) ? T(0) : x; }
  template <class T>
  static T slope(T x, const T*) { return nan_through(x, x > T(0) ? T(1) : T(0)); }
};

struct LeakyRelu {
  template <class T>
  static T value(T x, const T* constant) { return x > T(0) ? x : constant[0] * x; }
  template <class T>
  static T slope(T x, const T* constant) { return nan_through(x, x > T(0) ? T(1) : constant[0]); }
};

struct Relu6 {
  template <class T>
  static T value(T x, const T*) { return x <= T(0) ? T(0) : at_most(x, T(6)); }
  template <class T>
  static T slope(T x, const T*) { return nan_through(x, x > T(0) && x < T(6) ? T(1) : T(0)); }
};

struct SquaredRelu {
  template <class T>
  static T value(T x, const T*) { return x <= T(0) ? T(0) : x * x; }
  template <class T>
  static T slope(T x, const T*) { return x <= T(0) ? T(0) : T(2) * x; }
};

struct SoftShrink {  // x without `threshold` of its size
  template <class T>
  static T value(T x, const T* constant) {
    return x > constant[0] ? x - constant[0] : x < -constant[0] ? x + constant[0] : nan_through(x, T(0));
  }
  template <class T>
  static T slope(T x, const T* constant) { return nan_through(x, magnitude(x) > constant[0] ? T(1) : T(0)); }
};

struct HardShrink {  // x where its size is above `threshold`
  template <class T>
  static T value(T x, const T* constant) { return nan_through(x, magnitude(x) > constant[0] ? x : T(0)); }
  template <class T>
  static T slope(T x, const T* constant) { return SoftShrink::slope(x, constant); }
};

struct Threshold {  // x above `threshold`, else `replacement`
  template <class T>
  static T value(T x, const T* constant) { return nan_through(x, x > constant[0] ? x : constant[1]); }
  template <class T>
  static T slope(T x, const T* constant) { return nan_through(x, x > constant[0] ? T(1) : T(0)); }
};

struct Hardtanh {
  template <class T>
  static T value(T x, const T* constant) { return at_most(at_least(x, constant[0]), constant[1]); }
  template <class T>
  static T slope(T x, const T* constant) {
    return nan_through(x, x > constant[0] && x < constant[1] ? T(1) : T(0));
  }
};

}  // namespace hillock
