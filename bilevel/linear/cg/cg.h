// Conjugate gradients for H z = b.
#pragma once

#include "bilevel/linear/linear.h"

namespace bilevel {

struct CgOptions {
  int64_t max_iterations = 100;
  double tolerance = 1e-10;  ///< stops when ||b - H z|| <= tolerance * ||b||
};

/// Conjugate gradients (Hestenes and Stiefel 1952) from z = 0 for a symmetric positive definite,
/// deterministic H. One product an iteration. Fails (`failed`, with a message) when a direction of
/// non-positive curvature is met or a number is not finite; when `max_iterations` do not reach the tolerance,
/// the last iterate is returned with a message. `residual` is that of the recursion.
LinearSolution conjugate_gradients(const LinearOperator& hessian, const torch::Tensor& b,
                                   const CgOptions& options = {});

}  // namespace bilevel
