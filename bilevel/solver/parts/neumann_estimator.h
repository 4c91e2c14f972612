// The hypergradient by a truncated Neumann series, at any point for the same sample.
#pragma once

#include <cstdint>
#include <vector>

#include "bilevel/hypergrad/implicit.h"

namespace bilevel {

/// Everything random in one estimate, so that it can be evaluated at two points.
struct EstimateSample {
  Sample upper;                 ///< xi: b = grad_y F and grad_x F
  Sample cross;                 ///< zeta_0: the cross product
  std::vector<Sample> factors;  ///< zeta_j: one for each factor (I - eta_N H_j); none where H needs no data
  int64_t truncation = 0;       ///< number of factors
};

/// grad_x F(xi) - (d2G(zeta_0)/dxdy) z with z from a Neumann series with independent samples: the full nested
/// sum of `terms` summands (terms - 1 hvp), or, randomly truncated, one summand times `terms` (p hvp, p uniform in
/// {0, ..., terms-1}, (terms-1)/2 on average). One upper_gradient and one cross_vjp beside them.
class NeumannEstimator {
 public:
  NeumannEstimator() = default;
  NeumannEstimator(double step_size, int64_t terms, bool random_truncation)
      : step_size_(step_size), terms_(terms), random_truncation_(random_truncation) {}

  EstimateSample draw(Oracles& oracles);
  /// At the present (x, y).
  Hypergradient evaluate(Oracles& oracles, const EstimateSample& sample) const;

  void state(State& state) {
    state.value("step_size", step_size_);  // an automatic one was derived where the run began
  }

 private:
  double step_size_ = 0;
  int64_t terms_ = 1;
  bool random_truncation_ = false;
};

}  // namespace bilevel
