// The smallest and the largest eigenvalue of a symmetric H from products alone.
#pragma once

#include <torch/types.h>

#include "bilevel/linear/linear.h"

namespace bilevel {

struct LanczosOptions {
  int64_t max_products = 100;  ///< also the number of basis vectors kept: 8 dim(H) bytes each
  double tolerance = 1e-8;     ///< of both eigenvalues, relative to the largest absolute value
};

/// Extreme eigenvalues with bounds: within `error` of each value lies an eigenvalue of H.
struct ExtremeEigenvalues {
  double smallest = 0, largest = 0;
  double smallest_error = 0, largest_error = 0;   ///< ||H v - value v||
  torch::Tensor smallest_vector, largest_vector;  ///< flat, of length 1, in the dtype of the start
  int64_t products = 0;
  bool failed = false;  ///< true: a number was not finite, the values are NaN
  std::string message;  ///< why it failed, or that the tolerance was not reached
};

/// Lanczos iteration (1950) from `start` (flat, not zero; random for a certain answer: what is orthogonal to
/// it is never seen), with full reorthogonalization in float64, so that eigenvalues neither repeat nor get
/// lost. One product an iteration; ends when both ends of the spectrum are known to the tolerance or the
/// Krylov space is exhausted, then with exact values. Values approach from inside: `smallest` is never below
/// the true smallest eigenvalue, `largest` never above, but for round-off.
ExtremeEigenvalues lanczos(const LinearOperator& hessian, const torch::Tensor& start,
                           const LanczosOptions& options = {});

}  // namespace bilevel
