// The minimizer of a smooth convex loss plus weighted absolute values.
#pragma once

#include <torch/types.h>

#include <cstdint>

#include "bilevel/problem/derivatives.h"

namespace bilevel {

struct ProximalFitOptions {
  int64_t evaluations = 500;  ///< of the loss or its gradient, at most
  /// Ends where no number of y is further from the minimum along its own axis, times the curvature, than this share of the largest component
  /// of the gradient at y = 0.
  double tolerance = 1e-5;
};

struct ProximalFit {
  torch::Tensor y;          ///< flat; numbers that the absolute values hold at 0 are 0
  int64_t evaluations = 0;  ///< that were made
};

/// argmin over y of L(x, y) + sum_i t_i |y_i| from `start`: accelerated proximal gradient steps (A. Beck, M. Teboulle, SIAM J. Imaging Sci.
/// 2009, FISTA with backtracking), begun anew where a step would go up (B. O'Donoghue, E. Candes, Found. Comput. Math. 2015).
/// Deterministic. @param loss L, convex and smooth in y @param thresholds t [dim y], >= 0, in y's dtype Cost: two evaluations
/// a step; memory of five y.
ProximalFit proximal_fit(Derivatives& loss, const Batch& batch, const torch::Tensor& x,
                         const torch::Tensor& start, const torch::Tensor& thresholds,
                         const ProximalFitOptions& options = {});

}  // namespace bilevel
