// How strongly each feature bends the loss of a linear model.
#pragma once

#include <torch/types.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "bilevel/task/inputs.h"

namespace bilevel {

/// Calls visit(rows, tensors) with the inputs of some of the rows at a time, so that no copy of all of them is made.
template <typename Visit>
void each_gathered(const Inputs& inputs, const std::vector<int64_t>& rows, const Visit& visit) {
  constexpr size_t kTogether = 65536;
  for (size_t first = 0; first < rows.size(); first += kTogether) {
    const size_t last = std::min(rows.size(), first + kTogether);
    const std::vector<int64_t> some(rows.begin() + static_cast<int64_t>(first),
                                    rows.begin() + static_cast<int64_t>(last));
    visit(some, inputs.gather(some));
  }
}

/// A quarter of the mean square of every feature over the rows, [width], of the default floating type: the curvature of a mean
/// logistic loss in its weight at zero. @param inputs dense or sparse
torch::Tensor quarter_squares(const Inputs& inputs, const std::vector<int64_t>& rows, int64_t width);

}  // namespace bilevel
