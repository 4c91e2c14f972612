// Linear models fitted to all their rows.
#pragma once

#include <torch/types.h>

#include <functional>

#include "bilevel/glm/linear_loss.h"

namespace bilevel {

struct LinearFitOptions {
  int64_t iterations = 60;  ///< at most; of L-BFGS with 8 pairs and a search by the strong Wolfe conditions
  /// The fit has converged when no component of the gradient is above this share of the largest one at y = 0.
  double gradient_tolerance = 3e-4;
  /// Called before each evaluation with the number of those made; false ends the fit where it is. Null: it goes on.
  std::function<bool(int64_t evaluations)> go_on = nullptr;
};

/// argmin over y of a linear loss on the rows of `batch` at x, from `start`: flat, in the rows' dtype. Deterministic. Cost: about 1.1
/// values with their gradients an iteration, and one more; see `derivatives_of`. Throws InputError as that does.
torch::Tensor fit_linear(const LinearLoss& loss, const Batch& batch, const torch::Tensor& x,
                         const torch::Tensor& start, const LinearFitOptions& options = {});

}  // namespace bilevel
