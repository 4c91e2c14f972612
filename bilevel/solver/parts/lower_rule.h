// How y follows x between two upper steps.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "bilevel/core/parameters.h"
#include "bilevel/core/state.h"
#include "bilevel/solver/parts/adam.h"

namespace bilevel {

/// A lower update of `steps` gradient steps at fixed x: plain SGD or Adam (each with the given step size).
class LowerRule {
 public:
  LowerRule() = default;
  /// @param rule "sgd" or "adam".
  LowerRule(const std::string& rule, int64_t steps, double step_size, const AdamWeights& weights,
            const torch::Tensor& like);

  /// `steps` steps on y, asking `gradient` for grad_y G at each present y.
  void advance(Parameters& y, const std::function<torch::Tensor()>& gradient);

  /// One step on y along `gradient`.
  void step(Parameters& y, const torch::Tensor& gradient);

  void state(State& state);

 private:
  int64_t steps_ = 1;
  double step_size_ = 0;
  std::optional<Adam> adam_;
};

}  // namespace bilevel
