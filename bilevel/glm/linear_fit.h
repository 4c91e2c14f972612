// Linear models fitted to all their rows.
#pragma once

#include <torch/types.h>

#include <functional>

#include "bilevel/glm/linear_loss.h"

namespace bilevel {

struct LinearFitOptions {
  /// At most, of values and of products with the Hessian, each on all rows.
  int64_t evaluations = 60;
  /// The fit has converged when no component of the gradient is above this share of the largest one at y = 0, where every number of y
  /// is counted in units in which the loss curves by about 1.
  double gradient_tolerance = 3e-3;
  /// Called before each step with the number of evaluations made; false ends the fit where it is. Null: it goes on.
  std::function<bool(int64_t evaluations)> go_on = nullptr;
};

/// What a fit of models side by side came to.
struct FittedModels {
  torch::Tensor y;          ///< flat
  int64_t evaluations = 0;  ///< of the model that took most
};

/// Newton's method as in `fit_linear`, for any loss that is convex in y and a sum over models of which each reads its own numbers of y;
/// these lie in y as in LinearLoss. @param columns numbers of a model that lie together: its outputs @param scale [dim y]: y over it is
/// what the loss curves alike in
FittedModels fit_models(Derivatives& loss, const Batch& batch, const torch::Tensor& x,
                        const torch::Tensor& start, const torch::Tensor& scale, int64_t models,
                        int64_t columns, const LinearFitOptions& options = {});

/// argmin over y of a linear loss with weights >= 0 on the rows of `batch` at x, from `start`: flat, in the rows' dtype. Newton's method with
/// conjugate gradients, which end where they are near enough for the gradient that is left (R. S. Dembo, S. C. Eisenstat, T. Steihaug,
/// SIAM J. Numer. Anal. 1982), in units of `LinearLoss::curvature_bounds`, and with halved steps where a whole one goes too far.
/// Models side by side share the reading of rows and nothing else: each comes to what it would come to alone. Deterministic.
/// Cost: an evaluation is two products with the rows (see `derivatives_of`); of n-grams of 7,000 texts some 40 of them. Throws
/// InputError as `derivatives_of` does.
torch::Tensor fit_linear(const LinearLoss& loss, const Batch& batch, const torch::Tensor& x,
                         const torch::Tensor& start, const LinearFitOptions& options = {});

}  // namespace bilevel
