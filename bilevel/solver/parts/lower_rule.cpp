#include "bilevel/solver/parts/lower_rule.h"

namespace bilevel {

LowerRule::LowerRule(const std::string& rule, int64_t steps, double step_size, const AdamWeights& weights,
                     const torch::Tensor& like)
    : steps_(steps), step_size_(step_size) {
  if (rule == "adam") adam_.emplace(weights, like);
}

void LowerRule::advance(Parameters& y, const std::function<torch::Tensor()>& gradient) {
  for (int64_t k = 0; k < steps_; ++k) step(y, gradient());
}

void LowerRule::step(Parameters& y, const torch::Tensor& gradient) {
  if (adam_) {
    adam_->step(y, gradient, step_size_);
  } else {
    y.add(gradient, -step_size_);
  }
}

void LowerRule::state(State& state) {
  state.value("step_size", step_size_);
  if (adam_) adam_->state(state);
}

}  // namespace bilevel
