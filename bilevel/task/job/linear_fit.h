// Parts of fitting linear models that several jobs share.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "bilevel/task/inputs.h"

namespace bilevel {

/// A quarter of the mean square of every feature over the rows, [width], of the default floating type: the curvature of a mean
/// logistic loss in its weight at zero. @param inputs dense or sparse
torch::Tensor quarter_squares(const Inputs& inputs, const std::vector<int64_t>& rows, int64_t width);

/// Moves parameters to a lower loss, by L-BFGS with a strong Wolfe line search. @param loss_and_gradient at the parameters' present
/// values, the gradient flat @param evaluations at most about so many of it. Returns how many there were.
double minimize_by_lbfgs(const std::vector<torch::Tensor>& parameters,
                         const std::function<std::pair<double, torch::Tensor>()>& loss_and_gradient,
                         int64_t evaluations);

}  // namespace bilevel
