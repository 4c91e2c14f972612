#include "bilevel/hypergrad/implicit.h"

#include <torch/types.h>

#include <limits>

namespace bilevel {

Hypergradient implicit_hypergradient(Oracles& oracles, LossPoint& upper, LossPoint& lower,
                                     const LinearSolve& solve) {
  Hypergradient estimate;
  estimate.upper_loss = upper.value();
  const torch::Tensor b = upper.grad_y();
  estimate.linear = solve(b);
  estimate.value =
      estimate.linear.failed
          ? torch::full({oracles.x().size()}, std::numeric_limits<double>::quiet_NaN(), oracles.x().options())
          : oracles.hypergradient(upper, lower, estimate.linear.z);
  return estimate;
}

LinearOperator sampled_hessian(Oracles& oracles, const std::string& stream) {
  return [&oracles, stream](const torch::Tensor& v) {
    if (oracles.has_lower_hessian()) return oracles.lower_hessian(v);
    return oracles.lower().point(oracles.lower().draw(stream), Graph::lower_only).hvp(v);
  };
}

LinearOperator point_hessian(LossPoint& point) {
  return [&point](const torch::Tensor& v) { return point.hvp(v); };
}

}  // namespace bilevel
