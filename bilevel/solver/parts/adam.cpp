#include "bilevel/solver/parts/adam.h"

#include <torch/utils.h>

#include <cmath>

namespace bilevel {

Adam::Adam(const AdamWeights& weights, const torch::Tensor& like)
    : weights_(weights), m_(torch::zeros_like(like)), v_(torch::zeros_like(like)) {}

void Adam::step(Parameters& variable, const torch::Tensor& gradient, double step_size) {
  const torch::NoGradGuard no_grad;
  const auto [theta_m, theta_v, lambda] = weights_;
  ++t_;
  const auto t = static_cast<double>(t_);
  m_.mul_(1 - theta_m).add_(gradient, theta_m);
  v_.mul_(1 - theta_v).addcmul_(gradient, gradient, theta_v);
  // 1 - (1-theta)^t without cancellation for a small theta; exactly 1 for theta = 1.
  const double m_correction = -std::expm1(t * std::log1p(-theta_m));
  const double v_correction = -std::expm1(t * std::log1p(-theta_v));
  const torch::Tensor denominator = (v_ / v_correction).sqrt_().add_(lambda);
  variable.add(m_ / denominator, -step_size / m_correction);
}

void Adam::state(State& state) {
  state.tensor("m", m_);
  state.tensor("v", v_);
  state.value("t", t_);
}

}  // namespace bilevel
