// P1: an upper objective whose smoothness grows with its gradient, with a known solution.
#pragma once

#include "bilevel/problem/problem.h"
#include "bilevel/task/known_problem.h"

namespace bilevel {

/// f = sum cosh(c x_i) + b sum sin(y_i),  g = mu/2 ||y - a x||^2  (float64). y* = a x and
/// grad Phi_i = c sinh(c x_i) + a b cos(a x_i): the Hessian of Phi is unbounded, and (L0, L1)-smooth with L1
/// = c. Where c^2 >= a^2 |b|, Phi is strictly convex and its minimizer known.
struct P1 {
  double c = 2, a = 1, b = 1, mu = 1;
  torch::Tensor x, y;  ///< leaves of one size, float64

  /// x = `start` in all of `size` coordinates, y = 0.
  explicit P1(int64_t size = 4, double start = 2.5);
  /// x = `start`, y = 0.
  explicit P1(const std::vector<double>& start);

  Problem problem() const;
  torch::Tensor gradient(const torch::Tensor& x) const;  ///< grad Phi(x)
  torch::Tensor solution() const;  ///< x*, to round-off; undefined where Phi may not be convex
};

}  // namespace bilevel
