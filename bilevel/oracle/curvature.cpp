#include "bilevel/oracle/curvature.h"

#include <fmt/format.h>

#include <cmath>

#include "bilevel/core/error.h"

namespace bilevel {

Curvature largest_curvature(Oracles& oracles) {
  const auto purpose = oracles.counting(Purpose::automatic);
  const bool one_is_enough = oracles.has_lower_hessian() || oracles.problem().lower.batches.full_batch();
  Curvature found;
  for (int sample = 0; sample < (one_is_enough ? 1 : 3); ++sample) {
    std::optional<LossPoint> point;
    if (!oracles.has_lower_hessian()) {
      point = oracles.lower().point(oracles.lower().draw("curvature"), Graph::lower_only);
    }
    torch::Tensor v =
        torch::randn({oracles.y().size()}, oracles.streams().stream("curvature_start"), torch::kFloat64)
            .to(oracles.y().options());
    v = v / v.norm();
    double quotient = 0;
    for (int k = 0; k < 50; ++k) {
      const torch::Tensor hv = point ? point->hvp(v) : oracles.lower_hessian(v);
      ++found.products;
      const double previous = quotient;
      quotient = v.dot(hv).item<double>();
      const double norm = hv.norm().item<double>();
      if (!std::isfinite(norm) || norm == 0 || std::abs(quotient - previous) < 1e-3 * std::abs(quotient))
        break;
      v = hv / norm;
    }
    if (std::isnan(quotient) || std::abs(quotient) > std::abs(found.largest)) found.largest = quotient;
    if (std::isnan(quotient)) break;
  }
  return found;
}

double automatic_step_size(const Curvature& curvature, const std::string& field) {
  if (!(curvature.largest > 0) || !std::isfinite(curvature.largest)) {
    throw InputError(
        fmt::format("{} = auto: the lower objective's curvature of largest size at the start is {:g}, from "
                    "which no step size follows; give {} as a number",
                    field, curvature.largest, field));
  }
  return 1 / curvature.largest;
}

}  // namespace bilevel
