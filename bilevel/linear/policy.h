// What to do when a linear system could not be solved.
#pragma once

#include <functional>

#include "bilevel/core/fields.h"
#include "bilevel/linear/linear.h"

namespace bilevel {

/// A method for H z = b.
using LinearMethod = std::function<LinearSolution(const LinearOperator& hessian, const torch::Tensor& b)>;

/// When a linear system cannot be solved: no estimate, the last iterate, or H + damping I in place of H.
enum class OnFailure { error, warn, damp };
template <>
struct NamesOf<OnFailure> {
  static constexpr const char* value[] = {"error", "warn", "damp"};
};

struct LinearPolicy {
  OnFailure on_failure = OnFailure::error;
  double damping = 1e-3;       ///< first damping, relative to ||H b|| / ||b||
  double damping_growth = 10;  ///< factor between attempts, > 1
  int64_t damping_attempts = 8;

  void fields(Fields& fields);
};

/// Runs `method` and treats its failure:
/// - error: the solution stays failed; whoever uses it stops, with its message as the reason;
/// - warn: the method's last iterate is used and its message becomes a warning; when there is no iterate
/// other
///   than zero, or it is not finite, the solution stays failed: no zero stands in for an answer;
/// - damp: (H + d I) z = b is solved in its place, with d = damping ||H b|| / ||b|| (at least `damping`) and
/// then
///   greater by `damping_growth` at each attempt, until the method succeeds; `damping` of the solution is d,
///   `residual` that of the undamped system (one more product), `message` tells both. Stays failed when no
///   attempt succeeds.
/// `products` counts all attempts. A solution that is not finite counts as failed whatever the method said.
LinearSolution solve_with_policy(const LinearMethod& method, const LinearOperator& hessian,
                                 const torch::Tensor& b, const LinearPolicy& policy);

}  // namespace bilevel
