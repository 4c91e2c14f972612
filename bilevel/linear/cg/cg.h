// Conjugate gradients for H z = b, and on its normal equations.
#pragma once

#include "bilevel/linear/linear.h"

namespace bilevel {

struct CgOptions {
  int64_t max_iterations = 100;
  double tolerance = 1e-10;  ///< stops when ||b - H z|| <= tolerance * ||b||
};

/// Conjugate gradients (Hestenes and Stiefel 1952) from z = 0 for a symmetric positive definite,
/// deterministic H. One product an iteration. Fails (`failed`, with a message that holds the curvature
/// p'Hp/p'p found) when a direction of non-positive curvature is met, and when a number is not finite; z and
/// `residual` then are those of the last iterate before. When `max_iterations` do not reach the tolerance,
/// the last iterate is returned with a message. `residual` is that of the recursion.
LinearSolution conjugate_gradients(const LinearOperator& hessian, const torch::Tensor& b,
                                   const CgOptions& options = {});

/// Conjugate gradients on the normal equations H'H z = H'b (CGNR, Hestenes and Stiefel 1952) from z = 0, for
/// any regular H: indefinite, or not symmetric, with `transposed` v -> H'v. ||b - H z|| falls with every
/// iteration, but the condition number counts squared. Two products an iteration, and one more. Fails when
/// H'r vanishes while the residual r does not: H is singular and b outside its range, z then is a
/// least-squares solution; and when a number is not finite. `residual` is that of the recursion, of H z = b.
LinearSolution conjugate_gradients_normal(const LinearOperator& matrix, const LinearOperator& transposed,
                                          const torch::Tensor& b, const CgOptions& options = {});

/// The same for a symmetric H.
LinearSolution conjugate_gradients_normal(const LinearOperator& hessian, const torch::Tensor& b,
                                          const CgOptions& options = {});

}  // namespace bilevel
