#include "bilevel/solver/parts/lower_rule.h"

#include "bilevel/core/flat.h"

namespace bilevel {

LowerRule::LowerRule(LowerStep rule, int64_t steps, const AdamWeights& weights, const torch::Tensor& like)
    : steps_(steps) {
  if (rule == LowerStep::adam) adam_.emplace(weights, like);
}

void LowerRule::advance(Parameters& y, double step_size, const std::function<torch::Tensor()>& gradient) {
  for (int64_t k = 0; k < steps_; ++k) step(y, step_size, gradient());
}

void LowerRule::step(Parameters& y, double step_size, const torch::Tensor& gradient) {
  if (adam_) {
    adam_->step(y, gradient, step_size);
  } else {
    y.add(gradient, -step_size);
  }
}

void LowerRule::state(State& state) {
  if (adam_) adam_->state(state);
}

AveragedNesterov::AveragedNesterov(const torch::Tensor& y, double nesterov_momentum, double averaging_weight)
    : before_(y.clone()), averaged_(y.clone()), momentum_(nesterov_momentum), weight_(averaging_weight) {}

void AveragedNesterov::step(Parameters& y, double step_size, const std::function<torch::Tensor()>& gradient) {
  const torch::Tensor present = copy_of(y.flat());
  axpy(-1, present, before_);
  y.add(before_, -momentum_);  // w
  y.add(gradient(), -step_size);
  before_ = present;
}

void AveragedNesterov::average(const torch::Tensor& y) {
  averaged_ = copy_of(averaged_);  // whoever has the old one keeps it
  axpby(weight_, y, 1 - weight_, averaged_);
}

void AveragedNesterov::state(State& state) {
  state.tensor("before", before_);
  state.tensor("averaged", averaged_);
}

}  // namespace bilevel
