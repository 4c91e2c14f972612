#include "bilevel/core/flat.h"

#include <ATen/EmptyTensor.h>
#include <ATen/ScalarOps.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "bilevel/core/clones.h"
#include "bilevel/core/device.h"

namespace bilevel {
namespace {

constexpr int64_t kShort = 32768;  // numbers from which LibTorch uses several threads

bool is_plain(const torch::Tensor& t) {
  return t.is_cpu() && t.is_contiguous() &&
         (t.scalar_type() == torch::kFloat32 || t.scalar_type() == torch::kFloat64);
}

bool is_short(const torch::Tensor& t) { return t.numel() <= kShort && is_plain(t); }

template <typename T>
BILEVEL_INLINE void axpy_loop(T a, const T* x, T* __restrict y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] += a * x[i];
}
BILEVEL_CLONES void axpy_of(float a, const float* x, float* y, int64_t n) { axpy_loop(a, x, y, n); }
BILEVEL_CLONES void axpy_of(double a, const double* x, double* y, int64_t n) { axpy_loop(a, x, y, n); }

template <typename T>
BILEVEL_INLINE void axpby_loop(T a, const T* x, T b, T* __restrict y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = a * x[i] + b * y[i];
}
BILEVEL_CLONES void axpby_of(float a, const float* x, float b, float* y, int64_t n) {
  axpby_loop(a, x, b, y, n);
}
BILEVEL_CLONES void axpby_of(double a, const double* x, double b, double* y, int64_t n) {
  axpby_loop(a, x, b, y, n);
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

torch::Tensor copy_of(const torch::Tensor& v) {
  if (!is_short(v)) return v.detach().clone();
  const torch::Tensor copy = at::detail::empty_cpu({v.numel()}, v.scalar_type());
  std::memcpy(copy.data_ptr(), v.const_data_ptr(), v.nbytes());
  return copy;
}

void copy_into(const torch::Tensor& x, const torch::Tensor& y) {
  if (short_alike({y, x})) {
    std::memmove(y.data_ptr(), x.const_data_ptr(), y.nbytes());
    return;
  }
  const torch::NoGradGuard no_grad;
  y.copy_(x);
}

void axpy(double a, const torch::Tensor& x, const torch::Tensor& y) {
  if (!short_alike({y, x})) {
    const torch::NoGradGuard no_grad;
    y.add_(x, a);
    return;
  }
  with_type(y, [&](auto type) {
    using T = decltype(type);
    axpy_of(static_cast<T>(a), x.const_data_ptr<T>(), y.data_ptr<T>(), y.numel());
  });
}

void axpby(double a, const torch::Tensor& x, double b, const torch::Tensor& y) {
  if (!short_alike({y, x})) {
    const torch::NoGradGuard no_grad;
    y.mul_(b).add_(x, a);
    return;
  }
  with_type(y, [&](auto type) {
    using T = decltype(type);
    axpby_of(static_cast<T>(a), x.const_data_ptr<T>(), static_cast<T>(b), y.data_ptr<T>(), y.numel());
  });
}

torch::Tensor flat_norm(const torch::Tensor& v) {
  if (!is_short(v)) return v.norm();
  const double squares = with_type(v, [&](auto type) {
    return squares_of(static_cast<const decltype(type)*>(v.const_data_ptr()), v.numel());
  });
  return at::detail::scalar_tensor_static(std::sqrt(squares), v.scalar_type(), torch::kCPU);
}

torch::Tensor zero_if_finite(const std::vector<torch::Tensor>& tensors) {
  const torch::NoGradGuard no_grad;
  torch::Tensor all;
  for (const torch::Tensor& t : tensors) {
    if (!t.defined()) continue;
    const torch::Tensor sum = (t - t).sum();
    all = all.defined() ? all + sum : sum;
  }
  return all;
}

std::vector<double> numbers_of(std::vector<torch::Tensor> tensors) {
  const torch::NoGradGuard no_grad;
  torch::Device device = torch::kCPU;
  for (const torch::Tensor& t : tensors) {
    if (t.defined() && !t.is_cpu()) device = t.device();
  }
  const auto options = torch::device(device).dtype(torch::kFloat64);
  for (torch::Tensor& t : tensors)
    t = t.defined() ? to_device(t.detach().to(torch::kFloat64), device) : torch::zeros({}, options);
  const torch::Tensor read = torch::stack(tensors).cpu();
  return {read.data_ptr<double>(), read.data_ptr<double>() + read.numel()};
}

bool all_finite(std::initializer_list<torch::Tensor> tensors) {
  const torch::NoGradGuard no_grad;
  std::vector<torch::Tensor> others;
  for (const torch::Tensor& t : tensors) {
    if (!t.defined()) continue;
    if (is_plain(t)) {  // also a long one: LibTorch would write the differences into memory of their own
      const bool finite = with_type(t, [&](auto type) {
        return finite_of(static_cast<const decltype(type)*>(t.const_data_ptr()), t.numel());
      });
      if (!finite) return false;
    } else {
      others.push_back(t);
    }
  }
  return others.empty() || zero_if_finite(others).item<double>() == 0;
}

}  // namespace bilevel
