// The implicit hypergradient from first derivatives alone: every second-order product is a central
// difference.
#pragma once

#include "bilevel/core/fields.h"
#include "bilevel/hypergrad/estimate.h"
#include "bilevel/linear/linear_solver.h"

namespace bilevel {

struct FiniteDifferenceOptions {
  double difference_step =
      0;  ///< length of the move in y relative to 1 + ||y||; 0: the cube root of the unit of
          ///< rounding (6e-6 in float64, 5e-3 in float32), where both errors balance
  LinearSolverOptions linear = {.linear_tolerance = 1e-8};

  void fields(Fields& fields);
};

/// grad_x F - J z with H z = grad_y F, where
///   H v = (grad_y G(x, y + eps v) - grad_y G(x, y - eps v)) / (2 eps),
///   J z = (grad_x G(x, y + eps z) - grad_x G(x, y - eps z)) / (2 eps)
/// (the second as in DARTS, Liu et al. 2019), eps ||v|| = difference_step (1 + ||y||), both points on the
/// same sample with the same randomness inside the loss. Error O(eps^2). It needs nothing that is
/// differentiable twice, and serves as an independent check of what is. Cost: 1 upper_gradient, 2
/// lower_gradient a product of the linear solver, 2 lower_joint_gradient. `residual` is that of the linear
/// solver. x and y are afterwards what they were.
Estimate finite_difference_estimate(Oracles& oracles, const Sample& upper, const Sample& lower,
                                    const FiniteDifferenceOptions& options);

/// The two products at the present point for a given relative step (0: automatic): flat [dim y] and [dim x].
/// Zero for a zero direction.
torch::Tensor difference_hvp(Oracles& oracles, const Sample& lower, const torch::Tensor& v, double step = 0);
torch::Tensor difference_cross(Oracles& oracles, const Sample& lower, const torch::Tensor& v,
                               double step = 0);

}  // namespace bilevel
