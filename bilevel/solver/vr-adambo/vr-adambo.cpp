#include "bilevel/solver/vr-adambo/vr-adambo.h"

namespace bilevel {

void VRAdamBOOptions::fields(Fields& f) {
  step_size_fields(f, *this);
  neumann_fields(f, neumann_step_size, neumann_terms, "summands of the Neumann series (Q)");
  warm_start_field(f, warm_start_steps);
  momentum_weight_field(f, momentum_weight, "weight of the new gradient in the recursive momentum (theta_m)");
  f.number("second_moment_weight", second_moment_weight, kWeight,
           "weight of the new squared gradient in Adam's second moment (theta_v)");
  f.number("epsilon", epsilon, kPositive, "added to the root of the second moment (lambda)");
  averaged_lower_fields(f, *this);
  schedule_fields(f, *this);
}

void VRAdamBO::begin(Oracles& oracles) {
  lower_ = AveragedLower(averaged_lower_options(options_), oracles.y().flat());
  estimator_ = NeumannEstimator(steps_.neumann(), options_.neumann_terms, /*random_truncation=*/false);
  momentum_ = RecursiveMomentum(oracles.x().flat());
  second_moment_ =
      SecondMoment({.second_moment_weight = options_.second_moment_weight, .epsilon = options_.epsilon},
                   oracles.x().flat());
  before_ = Point::present(oracles);
}

void VRAdamBO::warm_start(Oracles& oracles) {
  lower_.warm_start(oracles, options_.warm_start_steps, steps_.lower());
}

StepReport VRAdamBO::iterate(Oracles& oracles) {
  const EstimateSample xi = estimator_.draw(oracles);
  const Point here{.x = copy_of(oracles.x().flat()), .y = lower_.averaged()};  // (x_t, yhat_t)
  const Hypergradient h = hypergradient_at(oracles, estimator_, xi, here);     // h_t
  torch::Tensor h_before;                                                      // h(x_{t-1}, yhat_{t-1}; xi_t)
  if (k_ > 0) h_before = hypergradient_at(oracles, estimator_, xi, before_).value;
  momentum_.update(h.value, h_before, options_.momentum_weight);     // m_t
  const torch::Tensor denominator = second_moment_.update(h.value);  // sqrt(v_hat_t) + lambda
  before_ = here;
  lower_.advance(oracles, k_, steps_.lower(k_));                             // y_{t+1} and yhat_{t+1}, at x_t
  oracles.upper().move(momentum_.value() / denominator, -steps_.upper(k_));  // x_{t+1}
  return {.upper_loss = h.upper_loss, .hypergradient = h.value, .linear_residual = h.linear.residual};
}

void VRAdamBO::variables(State& state) {
  state.part("lower", lower_);
  state.part("estimator", estimator_);
  state.part("momentum", momentum_);
  state.part("second_moment", second_moment_);
  state.part("before", before_);
}

SolverEntry vr_adambo_entry() {
  return solver_entry<VRAdamBO>(
      {.summary = "recursive momentum over Adam's denominator on x, AccBO's lower level; a reconstruction, "
                  "for upper objectives of unbounded smoothness",
       .documented_calls = by_options<VRAdamBO>([](const auto& o, int64_t steps) {
         return AveragedLower::calls(averaged_lower_options(o), o.neumann_terms, steps);
       }),
       .movement = Movement::adaptive,
       .assumptions = {.smoothness = Smoothness::unbounded, .sampling = Sampling::mean_square}});
}

}  // namespace bilevel
