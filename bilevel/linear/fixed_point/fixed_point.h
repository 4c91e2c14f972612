// The fixed-point iteration for H z = b: a deterministic contraction that runs until it has converged.
#pragma once

#include "bilevel/linear/linear.h"

namespace bilevel {

struct FixedPointOptions {
  double step_size =
      0;  ///< eta, below 2/l for the largest eigenvalue l of H; at 1/l the residual falls by 1 - mu/l
  int64_t max_iterations = 1000;
  double tolerance = 1e-10;  ///< stops when ||b - H z|| <= tolerance * ||b||
  torch::Tensor start = {};  ///< z_0; undefined: zero
};

/// z <- z - step_size (H z - b) for a symmetric, deterministic H, until the residual is small. One product an
/// iteration.
///
/// Not `linear_sgd`: that makes a given number of steps on whatever samples its operator draws and asks for
/// nothing, so it never fails and costs no comparison. This one takes a tolerance, reads the residual at
/// every iteration, returns the iterate whose residual it reports, and notices when the map is no
/// contraction: with H symmetric the residual cannot grow unless some |1 - step_size h| > 1, so it fails when
/// the residual has become twice the smallest one seen, beyond round-off (step too large, or negative
/// curvature), and when a number is not finite. When `max_iterations` do not reach the tolerance, the last
/// iterate is returned with a message that holds the observed contraction factor. From z_0 = 0 its k-th
/// iterate is the Neumann sum of k terms.
LinearSolution fixed_point(const LinearOperator& hessian, const torch::Tensor& b,
                           const FixedPointOptions& options);

}  // namespace bilevel
