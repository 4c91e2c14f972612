// How strongly each feature bends the loss of a linear model.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "bilevel/task/inputs.h"

namespace bilevel {

/// A quarter of the mean square of every feature over the rows, [width], of the default floating type: the curvature of a mean
/// logistic loss in its weight at zero. @param inputs dense or sparse
torch::Tensor quarter_squares(const Inputs& inputs, const std::vector<int64_t>& rows, int64_t width);

}  // namespace bilevel
