#include "bilevel/solver/parts/adam.h"

#include <torch/utils.h>

#include <cmath>

namespace bilevel {
namespace {

/// 1 - (1-theta)^t without cancellation for a small theta; exactly 1 for theta = 1.
double correction(double theta, int64_t t) {
  return -std::expm1(static_cast<double>(t) * std::log1p(-theta));
}

}  // namespace

SecondMoment::SecondMoment(const AdamWeights& weights, const torch::Tensor& like)
    : weight_(weights.second_moment_weight), epsilon_(weights.epsilon), v_(torch::zeros_like(like)) {}

torch::Tensor SecondMoment::update(const torch::Tensor& gradient) {
  const torch::NoGradGuard no_grad;
  ++t_;
  v_.mul_(1 - weight_).addcmul_(gradient, gradient, weight_);
  return (v_ / correction(weight_, t_)).sqrt_().add_(epsilon_);
}

void SecondMoment::state(State& state) {
  state.tensor("v", v_);
  state.value("t", t_);
}

Adam::Adam(const AdamWeights& weights, const torch::Tensor& like)
    : momentum_weight_(weights.momentum_weight), m_(torch::zeros_like(like)), second_(weights, like) {}

void Adam::step(Parameters& variable, const torch::Tensor& gradient, double step_size) {
  const torch::NoGradGuard no_grad;
  m_.mul_(1 - momentum_weight_).add_(gradient, momentum_weight_);
  const torch::Tensor denominator = second_.update(gradient);
  variable.add(m_ / denominator, -step_size / correction(momentum_weight_, second_.t()));
}

void Adam::state(State& state) {
  state.tensor("m", m_);
  second_.state(state);
}

}  // namespace bilevel
