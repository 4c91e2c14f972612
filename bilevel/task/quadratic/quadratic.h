// Quadratic bilevel problems with closed-form y*(x), Phi(x) and gradient.
#pragma once

#include <cstdint>

#include "bilevel/problem/problem.h"
#include "bilevel/task/known_problem.h"

namespace bilevel {

struct QuadraticOptions {
  int64_t upper_size = 5;
  int64_t lower_size = 4;
  double lower_curvature_min = 0.1;  ///< mu, smallest eigenvalue of d2g/dy2
  double lower_curvature_max = 1.0;  ///< l, largest eigenvalue; eigenvalues are log-spaced between
  double noise = 0;                  ///< standard deviation of the lower gradient's noise, per coordinate
  uint64_t seed = 0;                 ///< of the matrices
};

/// f = 1/2 x'Px + 1/2 y'Ry + x'Sy + p'x + r'y,  g = 1/2 y'Ay + x'Cy + a'y (+ noise e'y with e ~ N(0, noise^2
/// I), one draw a batch), all in float64, with P, R positive definite. y*(x) = -A^-1 (C'x + a). Noise, when
/// asked for, comes from the model's random stream: the default generator inside the loss.
class Quadratic {
 public:
  explicit Quadratic(const QuadraticOptions& options);

  /// The problem over this object's x and y, which it shares.
  Problem problem() const;

  torch::Tensor x, y;  ///< leaves, [upper_size], [lower_size]; both start at 1

  torch::Tensor best_lower(const torch::Tensor& x) const;                               ///< y*(x)
  torch::Tensor linear_variable(const torch::Tensor& x, const torch::Tensor& y) const;  ///< z = A^-1 grad_y f
  torch::Tensor hypergradient(const torch::Tensor& x,
                              const torch::Tensor& y) const;  ///< grad_x f - C z at any (x, y)
  torch::Tensor gradient(const torch::Tensor& x) const;       ///< grad Phi(x)
  torch::Tensor value(const torch::Tensor& x) const;          ///< Phi(x), 0-dim
  torch::Tensor curvature() const;                            ///< d2Phi/dx2, [upper_size, upper_size]

  /// Halves S until the smallest eigenvalue of `curvature()` is at least 0.1 (with S = 0 it is at least 1):
  /// large problems, and a few small ones, are not convex otherwise.
  void make_convex();

  torch::Tensor A, C, a, P, R, S, p, r;

 private:
  double noise_;
};

/// What such a problem is, without noise.
ProblemTraits quadratic_traits(const QuadraticOptions& options);

}  // namespace bilevel
