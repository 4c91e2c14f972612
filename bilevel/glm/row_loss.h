// Losses of a linear model's outputs on one row, with their derivatives in the outputs.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "bilevel/core/names.h"

namespace bilevel {

/// The loss of a row with outputs u [k] and target t.
enum class RowLoss {
  logistic,  ///< log(1 + exp(-t u)), t = +-1, k = 1
  squared,   ///< (u - t)^2 / 2, k = 1
  softmax,   ///< log sum_c exp(u_c) - u_t, t = 0 ... k - 1
};
template <>
struct NamesOf<RowLoss> {
  static constexpr const char* value[] = {"logistic", "squared", "softmax"};
};

/// log(1 + exp(m)), without overflow.
template <typename T>
T softplus(T m) {
  return std::max(m, T{0}) + std::log1p(std::exp(-std::abs(m)));
}
template <typename T>
T sigmoid(T m) {
  return 1 / (1 + std::exp(-m));
}

/// The loss.
template <typename T>
T row_value(RowLoss loss, const T* u, T target, int64_t k) {
  if (loss == RowLoss::logistic) return softplus(-target * u[0]);
  if (loss == RowLoss::squared) return (u[0] - target) * (u[0] - target) / 2;
  const T most = *std::max_element(u, u + k);
  T sum = 0;
  for (int64_t c = 0; c < k; ++c) sum += std::exp(u[c] - most);
  return most + std::log(sum) - u[static_cast<int64_t>(target)];
}

/// r [k], its gradient in u, and h [k], from which `row_curvature` makes products with its Hessian.
template <typename T>
void row_gradient(RowLoss loss, const T* u, T target, int64_t k, T* r, T* h) {
  if (loss == RowLoss::logistic) {
    const T wrong = sigmoid(-target * u[0]);
    r[0] = -target * wrong;
    h[0] = wrong * (1 - wrong);
    return;
  }
  if (loss == RowLoss::squared) {
    r[0] = u[0] - target;
    h[0] = 1;
    return;
  }
  const T most = *std::max_element(u, u + k);
  T sum = 0;
  for (int64_t c = 0; c < k; ++c) sum += h[c] = std::exp(u[c] - most);
  for (int64_t c = 0; c < k; ++c) r[c] = h[c] /= sum;
  r[static_cast<int64_t>(target)] -= 1;
}

/// d [k] <- (d2 loss/du2) d.
template <typename T>
void row_curvature(RowLoss loss, const T* h, int64_t k, T* d) {
  if (loss != RowLoss::softmax) {
    d[0] *= h[0];
    return;
  }
  T mean = 0;
  for (int64_t c = 0; c < k; ++c) mean += h[c] * d[c];
  for (int64_t c = 0; c < k; ++c) d[c] = h[c] * (d[c] - mean);
}

}  // namespace bilevel
