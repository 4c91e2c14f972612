#include "bilevel/solver/parts/storm.h"

namespace bilevel {
namespace {

constexpr double kStepExponent = 1.0 / 3, kWeightExponent = 2.0 / 3;

/// The course of a weight that belongs to step sizes with the course `schedule`.
Course weight_course(const std::string& schedule) {
  return {schedule == "paper" ? "paper" : "constant", kWeightExponent};
}

StepSizeOptions with_exponents(StepSizeOptions options) {
  options.paper.upper = options.paper.lower = kStepExponent;
  return options;
}

}  // namespace

Storm::Storm(Oracles& oracles, const StormOptions& options, int64_t max_steps)
    : step_sizes_(oracles, with_exponents(options.step_sizes), max_steps),
      upper_weight_(weight_course(options.step_sizes.schedule)),
      lower_weight_(weight_course(options.step_sizes.lower_schedule == "same"
                                      ? options.step_sizes.schedule
                                      : options.step_sizes.lower_schedule)),
      theta_x_(options.momentum_weight),
      theta_y_(options.lower_momentum_weight),
      estimator_(step_sizes_.neumann(), options.summands, options.random_truncation),
      upper_(oracles.x().flat()),
      lower_(oracles.y().flat()),
      before_(Point::present(oracles)),
      steps_(max_steps) {}

StepReport Storm::step(Oracles& oracles) {
  const Sample zeta = oracles.lower().draw("lower_batches");
  const EstimateSample xi = estimator_.draw(oracles);
  const torch::Tensor g = oracles.lower().gradient_in_y(zeta);
  const Hypergradient h = estimator_.evaluate(oracles, xi);
  torch::Tensor g_before, h_before;  // the same samples at (x_{t-1}, y_{t-1})
  if (k_ > 0) {
    g_before = lower_gradient_at(oracles, zeta, before_);
    h_before = hypergradient_at(oracles, estimator_, xi, before_).value;
  }
  before_ = Point::present(oracles);
  lower_.update(g, g_before, theta_y_ * lower_weight_.at(k_, steps_));        // d_y
  upper_.update(h.value, h_before, theta_x_ * upper_weight_.at(k_, steps_));  // d_x
  oracles.y().add(lower_.value(), -step_sizes_.lower(k_));                    // y_{t+1}
  oracles.upper().move(upper_.value(), -step_sizes_.upper(k_));               // x_{t+1}
  ++k_;
  return {.upper_loss = h.upper_loss, .hypergradient = h.value, .linear_residual = h.linear.residual};
}

void Storm::state(State& state) {
  state.value("k", k_);
  state.value("steps", steps_);
  state.scope("step_sizes", [&](State& inner) { step_sizes_.state(inner); });
  state.scope("estimator", [&](State& inner) { estimator_.state(inner); });
  state.scope("upper", [&](State& inner) { upper_.state(inner); });
  state.scope("lower", [&](State& inner) { lower_.state(inner); });
  state.scope("before", [&](State& inner) { before_.state(inner); });
}

}  // namespace bilevel
