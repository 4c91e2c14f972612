#include "bilevel/core/flat.h"

#include <ATen/EmptyTensor.h>
#include <ATen/ScalarOps.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "bilevel/core/clones.h"

namespace bilevel {
namespace {

constexpr int64_t kShort = 32768;  // numbers from which LibTorch uses several threads

bool is_short(const torch::Tensor& t) {
  return t.numel() <= kShort && t.is_cpu() && t.is_contiguous() &&
         (t.scalar_type() == torch::kFloat32 || t.scalar_type() == torch::kFloat64);
}

template <typename T>
BILEVEL_INLINE void add_scaled_loop(T* y, const T* x, T a, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] += a * x[i];
}
BILEVEL_CLONES void add_scaled_of(float* y, const float* x, float a, int64_t n) {
  add_scaled_loop(y, x, a, n);
}
BILEVEL_CLONES void add_scaled_of(double* y, const double* x, double a, int64_t n) {
  add_scaled_loop(y, x, a, n);
}

template <typename T>
BILEVEL_INLINE void average_loop(T* m, const T* g, T weight, int64_t n) {
  for (int64_t i = 0; i < n; ++i) m[i] = (1 - weight) * m[i] + weight * g[i];
}
BILEVEL_CLONES void average_of(float* m, const float* g, float weight, int64_t n) {
  average_loop(m, g, weight, n);
}
BILEVEL_CLONES void average_of(double* m, const double* g, double weight, int64_t n) {
  average_loop(m, g, weight, n);
}

/// x - x is 0 for a finite number only, and NaN stays in the sum.
template <typename T>
BILEVEL_INLINE bool finite_loop(const T* x, int64_t n) {
  constexpr int64_t kLanes = 16;
  T sum[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int64_t j = 0; j < kLanes; ++j) sum[j] += x[i + j] - x[i + j];
  }
  for (; i < n; ++i) sum[0] += x[i] - x[i];
  for (int64_t j = 1; j < kLanes; ++j) sum[0] += sum[j];
  return sum[0] == 0;
}
BILEVEL_CLONES bool finite_of(const float* x, int64_t n) { return finite_loop(x, n); }
BILEVEL_CLONES bool finite_of(const double* x, int64_t n) { return finite_loop(x, n); }

template <typename T>
BILEVEL_INLINE double squares_loop(const T* x, int64_t n) {
  constexpr int64_t kLanes = 16;
  double sum[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int64_t j = 0; j < kLanes; ++j) {
      const auto value = static_cast<double>(x[i + j]);
      sum[j] += value * value;
    }
  }
  for (; i < n; ++i) sum[0] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  for (int64_t j = 1; j < kLanes; ++j) sum[0] += sum[j];
  return sum[0];
}
BILEVEL_CLONES double squares_of(const float* x, int64_t n) { return squares_loop(x, n); }
BILEVEL_CLONES double squares_of(const double* x, int64_t n) { return squares_loop(x, n); }

}  // namespace

bool short_alike(std::initializer_list<torch::Tensor> tensors) {
  const torch::Tensor& first = *tensors.begin();
  return std::ranges::all_of(tensors, [&](const torch::Tensor& t) {
    return is_short(t) && t.scalar_type() == first.scalar_type() && t.numel() == first.numel();
  });
}

torch::Tensor zeros_of(const torch::Tensor& like) {
  if (!is_short(like)) return torch::zeros({like.numel()}, like.options().requires_grad(false));
  torch::Tensor zeros = at::detail::empty_cpu({like.numel()}, like.scalar_type());
  std::memset(zeros.data_ptr(), 0, zeros.nbytes());
  return zeros;
}

void add_scaled(const torch::Tensor& y, const torch::Tensor& x, double a) {
  if (!short_alike({y, x})) {
    const torch::NoGradGuard no_grad;
    y.add_(x, a);
    return;
  }
  with_type(y, [&](auto type) {
    using T = decltype(type);
    add_scaled_of(static_cast<T*>(y.data_ptr()), static_cast<const T*>(x.const_data_ptr()), static_cast<T>(a),
                  y.numel());
  });
}

void average_into(const torch::Tensor& m, const torch::Tensor& g, double weight) {
  if (!short_alike({m, g})) {
    const torch::NoGradGuard no_grad;
    m.mul_(1 - weight).add_(g, weight);
    return;
  }
  with_type(m, [&](auto type) {
    using T = decltype(type);
    average_of(static_cast<T*>(m.data_ptr()), static_cast<const T*>(g.const_data_ptr()),
               static_cast<T>(weight), m.numel());
  });
}

torch::Tensor flat_norm(const torch::Tensor& v) {
  if (!is_short(v)) return v.norm();
  const double squares = with_type(v, [&](auto type) {
    return squares_of(static_cast<const decltype(type)*>(v.const_data_ptr()), v.numel());
  });
  return at::detail::scalar_tensor_static(std::sqrt(squares), v.scalar_type(), torch::kCPU);
}

bool all_finite(std::initializer_list<torch::Tensor> tensors) {
  const torch::NoGradGuard no_grad;
  torch::Tensor elsewhere;
  for (const torch::Tensor& t : tensors) {
    if (!t.defined()) continue;
    if (is_short(t)) {
      const bool finite = with_type(t, [&](auto type) {
        return finite_of(static_cast<const decltype(type)*>(t.const_data_ptr()), t.numel());
      });
      if (!finite) return false;
    } else {
      const torch::Tensor sum = (t - t).sum();
      elsewhere = elsewhere.defined() ? elsewhere + sum : sum;
    }
  }
  return !elsewhere.defined() || elsewhere.item<double>() == 0;
}

}  // namespace bilevel
