#include "bilevel/solver/parts/two_point.h"

#include "bilevel/core/flat.h"

namespace bilevel {

Hypergradient hypergradient_at(Oracles& oracles, const NeumannEstimator& estimator,
                               const EstimateSample& sample, const Point& point) {
  const PointScope there(oracles, point.x, point.y);
  return estimator.evaluate(oracles, sample);
}

torch::Tensor lower_gradient_at(Oracles& oracles, const Sample& sample, const Point& point) {
  const PointScope there(oracles, point.x, point.y);
  return oracles.lower().gradient_in_y(sample);
}

void RecursiveMomentum::update(const torch::Tensor& present, const torch::Tensor& before, double weight) {
  if (!before.defined()) {
    value_ = copy_of(present);
    return;
  }
  axpy(-1, before, value_);
  axpby(1, present, 1 - weight, value_);
}

}  // namespace bilevel
