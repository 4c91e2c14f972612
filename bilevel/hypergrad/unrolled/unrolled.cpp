#include "bilevel/hypergrad/unrolled/unrolled.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "bilevel/hypergrad/implicit.h"
#include "bilevel/linear/lanczos/lanczos.h"

namespace bilevel {
namespace {

int64_t backward_steps(const UnrolledOptions& options) {
  return options.truncation > 0 ? std::min(options.truncation, options.lower_steps) : options.lower_steps;
}

}  // namespace

void UnrolledOptions::fields(Fields& f) {
  f.step_size("lower_step_size", lower_step_size, "step on y; auto: 1/l");
  f.integer("lower_steps", lower_steps, kAtLeastOne, "steps on y (K)");
  f.integer("truncation", truncation, kNonNegative, "backward steps, the last ones; 0: all");
}

int64_t unrolled_memory_bytes(int64_t lower_size, int64_t element_size, const UnrolledOptions& options) {
  return backward_steps(options) * lower_size * element_size;
}

Estimate unrolled_estimate(Oracles& oracles, const Sample& upper, const Sample& lower,
                           const UnrolledOptions& options) {
  const EstimateScope scope(oracles);
  const PointScope restore(oracles, oracles.x().flat(), oracles.y().flat());
  double eta = options.lower_step_size.value.value_or(0);
  if (options.lower_step_size.automatic()) {
    LossPoint point = oracles.lower().point(lower, Graph::lower_only);
    const torch::Tensor start =
        torch::randn({oracles.y().size()}, oracles.streams().stream("unrolled_start"), torch::kFloat64);
    const ExtremeEigenvalues found = lanczos(point_hessian(point), start.to(oracles.y().options()),
                                             {.max_products = 20, .tolerance = 1e-3});
    if (found.failed || !(found.largest > 0)) {
      return scope.finish(
          {}, torch::full({}, std::numeric_limits<double>::quiet_NaN()), true,
          found.failed
              ? found.message
              : fmt::format("no step size follows from the largest curvature, {:.3g}", found.largest));
    }
    eta = 1 / found.largest;
  }

  const int64_t steps = options.lower_steps;
  const int64_t backward = backward_steps(options);
  std::vector<torch::Tensor> iterates;  // y_{K-M}, ..., y_{K-1}
  for (int64_t k = 0; k < steps; ++k) {
    if (steps - k <= backward) iterates.push_back(oracles.y().flat().clone());
    oracles.y().add(oracles.lower().gradient_in_y(lower), -eta);
  }
  const JointGradient f = oracles.upper().gradient(upper);
  torch::Tensor h = f.x, lambda = f.y;
  while (!iterates.empty()) {
    oracles.y().assign(iterates.back());
    iterates.pop_back();
    LossPoint point = oracles.lower().point(lower, Graph::both);
    h = h - eta * point.cross_vjp(lambda);
    lambda = lambda - eta * point.hvp(lambda);
  }
  return scope.finish(h, lambda.norm(), false, "");
}

}  // namespace bilevel
