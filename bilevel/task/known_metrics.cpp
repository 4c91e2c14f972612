#include "bilevel/task/known_metrics.h"

#include <torch/utils.h>

#include <cmath>

namespace bilevel {

KnownMetrics known_metrics(const KnownProblem& problem, const Projection& project,
                           const torch::Tensor& solution) {
  const torch::NoGradGuard no_grad;
  const torch::Tensor x = problem.x().detach();
  const torch::Tensor gradient = problem.gradient(x);
  KnownMetrics metrics{.gradient_norm = gradient.norm().item<double>()};
  if (project) metrics.projected_gradient_norm = (x - project(x - gradient)).norm().item<double>();
  if (solution.defined()) {
    metrics.distance = (x - solution).norm().item<double>() / std::sqrt(static_cast<double>(x.numel()));
  }
  return metrics;
}

}  // namespace bilevel
