// Stochastic gradient descent on the linear system H z = b.
#pragma once

#include "bilevel/linear/linear.h"

namespace bilevel {

/// `steps` steps z <- z - step_size (H z - b) from `start`; one product each, a fresh sample each when the
/// operator is stochastic. `residual` is that of the last iterate but one, the last one that was computed.
LinearSolution linear_sgd(const LinearOperator& hessian, const torch::Tensor& b, const torch::Tensor& start,
                          double step_size, int64_t steps);

}  // namespace bilevel
