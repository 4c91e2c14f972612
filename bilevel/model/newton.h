// Newton's method for smooth, strongly convex functions: logistic regression, and the reference answers of the known
// problems.
#pragma once

#include <torch/types.h>

#include <functional>
#include <utility>

namespace bilevel {

/// A strongly convex function with its derivatives written by hand. It shares nothing with the oracles and
/// linear solvers whose results it serves to judge.
struct ConvexFunction {
  std::function<std::pair<double, torch::Tensor>(const torch::Tensor& y)> value_and_gradient;
  /// H(y)^-1 b to the given relative residual, H the Hessian at y.
  std::function<torch::Tensor(const torch::Tensor& y, const torch::Tensor& b, double tolerance)> solve;
};

/// When to stop.
struct NewtonOptions {
  int64_t max_steps = 100;
  /// Whether this gradient is small enough to stop; null: never before round-off.
  std::function<bool(const torch::Tensor& gradient)> enough = nullptr;
};

/// Where Newton's method came to.
struct NewtonResult {
  torch::Tensor y;
  int64_t steps = 0;
  bool converged =
      false;  ///< the gradient's norm has fallen to 1e-9 (1 + its norm at the start), or it was enough
};

/// Newton's method from `start`, with halved steps where the full one does not lower the value: 5 to 20 `solve`s.
NewtonResult newton(const ConvexFunction& function, const torch::Tensor& start,
                    const NewtonOptions& options = {});

/// argmin by `newton`, to round-off; all NaN unless it has converged.
torch::Tensor minimize(const ConvexFunction& function, const torch::Tensor& start);

/// H^-1 b for positive definite H by conjugate gradients with the preconditioner diagonal^-1, to
/// ||b - H z|| <= tolerance ||b||, or as far as round-off allows.
torch::Tensor solve_by_conjugate_gradients(const std::function<torch::Tensor(const torch::Tensor&)>& hessian,
                                           const torch::Tensor& diagonal, const torch::Tensor& b,
                                           double tolerance);

}  // namespace bilevel
