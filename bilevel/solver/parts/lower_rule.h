// How y follows x between two upper steps.
#pragma once

#include <functional>
#include <optional>

#include "bilevel/core/parameters.h"
#include "bilevel/core/state.h"
#include "bilevel/solver/parts/adam.h"
#include "bilevel/solver/parts/choices.h"

namespace bilevel {

/// A lower update of `steps` gradient steps at fixed x: plain SGD or Adam.
class LowerRule {
 public:
  LowerRule() = default;
  LowerRule(LowerStep rule, int64_t steps, const AdamWeights& weights, const torch::Tensor& like);

  /// `steps` steps on y, asking `gradient` for grad_y G at each present y.
  void advance(Parameters& y, double step_size, const std::function<torch::Tensor()>& gradient);

  /// One step on y along `gradient`.
  void step(Parameters& y, double step_size, const torch::Tensor& gradient);

  void state(State& state);

 private:
  int64_t steps_ = 1;
  std::optional<Adam> adam_;
};

/// Where accelerated methods keep y: the iterate, the one before, and the running average yhat that the upper
/// level reads (AccBO, VR-AdamBO):
///   w = y + gamma (y - y_before);  y <- w - eta grad_y G(x, w);  yhat <- (1-tau) yhat + tau y
class AveragedNesterov {
 public:
  AveragedNesterov() = default;
  /// Starts at y: y_before = yhat = y.
  AveragedNesterov(const torch::Tensor& y, double nesterov_momentum, double averaging_weight);

  /// One accelerated step on y, asking `gradient` for grad_y G at the extrapolated point.
  void step(Parameters& y, double step_size, const std::function<torch::Tensor()>& gradient);
  /// yhat <- (1-tau) yhat + tau y.
  void average(const torch::Tensor& y);

  const torch::Tensor& averaged() const { return averaged_; }
  void state(State& state);

 private:
  torch::Tensor before_, averaged_;
  double momentum_ = 0, weight_ = 1;
};

}  // namespace bilevel
