#include "bilevel/solver/parts/neumann_estimator.h"

#include "bilevel/linear/neumann/neumann.h"

namespace bilevel {

EstimateSample NeumannEstimator::draw(Oracles& oracles) {
  EstimateSample sample{.upper = oracles.upper().draw("upper_batches"),
                        .cross = oracles.lower().draw("cross_batches"),
                        .factors = {},
                        .truncation = terms_ - 1};
  if (random_truncation_) {
    sample.truncation =
        static_cast<int64_t>(oracles.streams().draw("truncation") % static_cast<uint64_t>(terms_));
  }
  for (int64_t j = 0; j < sample.truncation && !oracles.has_lower_hessian(); ++j) {
    sample.factors.push_back(oracles.lower().draw("neumann_batches"));
  }
  return sample;
}

Hypergradient NeumannEstimator::evaluate(Oracles& oracles, const EstimateSample& sample) const {
  size_t next = 0;
  const LinearOperator hessian = [&](const torch::Tensor& v) {
    if (oracles.has_lower_hessian()) return oracles.lower_hessian(v);
    return oracles.lower().point(sample.factors[next++], Graph::lower_only).hvp(v);
  };
  auto [upper, lower] = oracles.points(sample.upper, sample.cross);
  return implicit_hypergradient(oracles, upper, lower, [&](const torch::Tensor& b) {
    return random_truncation_ ? neumann_random_truncation(hessian, b, step_size_, terms_, sample.truncation)
                              : neumann(hessian, b, step_size_, terms_);
  });
}

}  // namespace bilevel
