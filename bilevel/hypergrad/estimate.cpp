#include "bilevel/hypergrad/estimate.h"

#include <torch/types.h>

#include <limits>

namespace bilevel {
namespace {

OracleCounts difference(const OracleCounts& after, const OracleCounts& before) {
  return {.lower_gradient = after.lower_gradient - before.lower_gradient,
          .lower_joint_gradient = after.lower_joint_gradient - before.lower_joint_gradient,
          .upper_gradient = after.upper_gradient - before.upper_gradient,
          .hvp = after.hvp - before.hvp,
          .cross_vjp = after.cross_vjp - before.cross_vjp,
          .upper_hvp = after.upper_hvp - before.upper_hvp,
          .upper_cross_vjp = after.upper_cross_vjp - before.upper_cross_vjp,
          .upper_samples = after.upper_samples - before.upper_samples,
          .lower_samples = after.lower_samples - before.lower_samples};
}

}  // namespace

Estimate EstimateScope::finish(torch::Tensor value, torch::Tensor residual, bool failed,
                               std::string message) const {
  Estimate estimate{.value = std::move(value),
                    .residual = std::move(residual),
                    .cost = difference(oracles_.counts(), before_),
                    .failed = failed,
                    .message = std::move(message)};
  if (!failed && !estimate.value.isfinite().all().item<bool>()) {
    estimate.failed = true;
    estimate.message +=
        estimate.message.empty() ? "the estimate is not finite" : "; the estimate is not finite";
  }
  if (estimate.failed) {
    estimate.value =
        torch::full({oracles_.x().size()}, std::numeric_limits<double>::quiet_NaN(), oracles_.x().options());
  }
  return estimate;
}

}  // namespace bilevel
