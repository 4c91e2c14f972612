#include "bilevel/task/known_metrics.h"

#include <torch/utils.h>

#include <cmath>

namespace bilevel {

using Json = nlohmann::ordered_json;

KnownMetrics::KnownMetrics(const KnownProblem& known)
    : known_(known),
      problem_(known.problem()),
      upper_(problem_.upper.batches.all()),
      lower_(problem_.lower.batches.all()),
      solution_(known.solution()) {
  if (solution_.defined()) solution_ = solution_.detach();
}

Json KnownMetrics::at_present() const {
  const torch::NoGradGuard no_grad;
  const torch::Tensor x = known_.x().detach();
  const torch::Tensor gradient = known_.gradient(x);
  Json metrics{{"gradient_norm", gradient.norm().item<double>()}};
  if (const Projection& project = problem_.upper.project)
    metrics["projected_gradient_norm"] = (x - project(x - gradient)).norm().item<double>();
  if (solution_.defined())
    metrics["distance"] = (x - solution_).norm().item<double>() / std::sqrt(static_cast<double>(x.numel()));
  return metrics;
}

Json KnownMetrics::with_objectives() const {
  const torch::NoGradGuard no_grad;
  const Json known = at_present();
  Json metrics{{"distance", nullptr}, {"gradient_norm", nullptr}, {"upper", nullptr}, {"lower", nullptr}};
  metrics.update(known);
  metrics["upper"] = problem_.upper.loss(upper_).item<double>();
  metrics["lower"] = problem_.lower.loss(lower_).item<double>();
  return metrics;
}

double KnownMetrics::stationarity(const Json& metrics) {
  return metrics.value("projected_gradient_norm", metrics.at("gradient_norm").get<double>());
}

}  // namespace bilevel
