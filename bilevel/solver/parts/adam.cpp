#include "bilevel/solver/parts/adam.h"

#include <ATen/ops/_fused_adam.h>
#include <torch/utils.h>

#include <cmath>

#include "bilevel/core/clones.h"
#include "bilevel/core/flat.h"

namespace bilevel {
namespace {

/// 1 - (1-theta)^t without cancellation for a small theta; exactly 1 for theta = 1.
double correction(double theta, int64_t t) {
  return -std::expm1(static_cast<double>(t) * std::log1p(-theta));
}

template <typename T>
struct AdamNumbers {
  T m, v, epsilon;  // the weights
  T step, root;     // step size / correction of m; 1 / correction of v
};
template <typename T>
BILEVEL_INLINE void adam_loop(T* __restrict w, T* __restrict m, T* __restrict v, const T* __restrict g,
                              int64_t n, const AdamNumbers<T>& a) {
  for (int64_t i = 0; i < n; ++i) {
    m[i] = (1 - a.m) * m[i] + a.m * g[i];
    v[i] = (1 - a.v) * v[i] + a.v * g[i] * g[i];
    w[i] -= a.step * m[i] / (std::sqrt(v[i] * a.root) + a.epsilon);
  }
}
BILEVEL_CLONES void adam_of(float* w, float* m, float* v, const float* g, int64_t n,
                            const AdamNumbers<float>& a) {
  adam_loop(w, m, v, g, n, a);
}
BILEVEL_CLONES void adam_of(double* w, double* m, double* v, const double* g, int64_t n,
                            const AdamNumbers<double>& a) {
  adam_loop(w, m, v, g, n, a);
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
    : weights_(weights), m_(torch::zeros_like(like)), v_(torch::zeros_like(like)) {}

void Adam::step(Parameters& variable, const torch::Tensor& gradient, double step_size) {
  ++t_;
  variable.change([&](const torch::Tensor& w) {
    if (!short_alike({w, m_, v_, gradient})) {
      const torch::NoGradGuard no_grad;
      const torch::Tensor t = torch::full({}, t_, w.options().dtype(torch::kFloat32));
      at::_fused_adam_({w}, {gradient}, {m_}, {v_}, {}, {t}, step_size, 1 - weights_.momentum_weight,
                       1 - weights_.second_moment_weight, /*weight_decay=*/0, weights_.epsilon,
                       /*amsgrad=*/false, /*maximize=*/false);
      return;
    }
    with_type(w, [&](auto type) {
      using T = decltype(type);
      adam_of(w.data_ptr<T>(), m_.data_ptr<T>(), v_.data_ptr<T>(), gradient.const_data_ptr<T>(), w.numel(),
              {.m = static_cast<T>(weights_.momentum_weight),
               .v = static_cast<T>(weights_.second_moment_weight),
               .epsilon = static_cast<T>(weights_.epsilon),
               .step = static_cast<T>(step_size / correction(weights_.momentum_weight, t_)),
               .root = static_cast<T>(1 / correction(weights_.second_moment_weight, t_))});
    });
  });
}

void Adam::state(State& state) {
  state.tensor("m", m_);
  state.tensor("v", v_);
  state.value("t", t_);
}

}  // namespace bilevel
