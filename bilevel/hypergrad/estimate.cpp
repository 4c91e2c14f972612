#include "bilevel/hypergrad/estimate.h"

#include <torch/types.h>

#include <limits>

namespace bilevel {
Estimate EstimateScope::finish(torch::Tensor value, torch::Tensor residual, bool failed,
                               std::string message) const {
  Estimate estimate{.value = std::move(value),
                    .residual = std::move(residual),
                    .cost = oracles_.counts(),
                    .failed = failed,
                    .message = std::move(message)};
  estimate.cost -= before_;
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
