// Adam as an update rule for either level.
#pragma once

#include <torch/types.h>

#include <cstdint>

#include "bilevel/core/parameters.h"
#include "bilevel/core/state.h"

namespace bilevel {

/// The weights and the constant of Adam.
struct AdamWeights {
  double momentum_weight = 0.1;         ///< theta_m, weight of the new gradient in the first moment
  double second_moment_weight = 0.001;  ///< theta_v, weight of the new squared gradient in the second moment
  double epsilon = 1e-8;                ///< lambda, added outside the root
};

/// Adam's denominator for one flat variable.
class SecondMoment {
 public:
  SecondMoment() = default;
  /// v = 0, t = 0. Only `second_moment_weight` and `epsilon` of `weights` are used.
  SecondMoment(const AdamWeights& weights, const torch::Tensor& like);

  /// v <- (1-theta_v) v + theta_v g*g; returns sqrt(v_hat) + epsilon with v_hat = v / (1 - (1-theta_v)^t).
  torch::Tensor update(const torch::Tensor& gradient);

  /// Updates so far.
  int64_t t() const { return t_; }
  void state(State& state);

 private:
  double weight_ = 0, epsilon_ = 0;
  torch::Tensor v_;
  int64_t t_ = 0;
};

/// Adam (Kingma and Ba 2015) with both bias corrections on one flat variable. One pass over memory a step.
class Adam {
 public:
  Adam() = default;
  /// Moments zero, t = 0.
  Adam(const AdamWeights& weights, const torch::Tensor& like);

  /// m <- (1-theta_m) m + theta_m g;  v <- (1-theta_v) v + theta_v g*g;
  /// w <- w - step_size * m_hat / (sqrt(v_hat) + epsilon).
  void step(Parameters& variable, const torch::Tensor& gradient, double step_size);

  void state(State& state);

 private:
  AdamWeights weights_;
  torch::Tensor m_, v_;
  int64_t t_ = 0;
};

}  // namespace bilevel
