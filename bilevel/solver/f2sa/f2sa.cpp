#include "bilevel/solver/f2sa/f2sa.h"

#include <cmath>

namespace bilevel {

void F2SAOptions::fields(Fields& f) {
  upper_step_size_field(f, upper_step_size);
  lower_step_size_field(f, lower_step_size);
  f.number("multiplier", multiplier, kPositive, "weight of the lower objective at the first step (lambda_0)")
      .search(0.01, 10);
  f.number("multiplier_growth", multiplier_growth, kNonNegative,
           "added to the multiplier at every step; with schedule paper the multiplier grows like (k+1)^(1/7) "
           "instead")
      .search(1e-3, 1);
  f.integer("lower_steps", lower_steps, kAtLeastOne, "steps on y an iteration, and on its copy w")
      .search(1, 20);
  f.choice("samples", samples, {"independent", "shared"},
           "whether the steps on y and on w have lower samples of their own, or share one");
  schedule_field(f, schedule);
  lower_schedule_field(f, lower_schedule);
}

void F2SA::start(Oracles& oracles, int64_t max_steps) {
  fields_of(options_).validate();
  steps_ = StepSizes(oracles, step_size_options(options_, {.upper = 5.0 / 7, .lower = 4.0 / 7}), max_steps);
  w_ = oracles.y().flat().clone();
  k_ = 0;
}

double F2SA::multiplier() const {
  const auto k = static_cast<double>(k_);
  if (options_.schedule == "paper") return options_.multiplier * std::pow(k + 1, 1.0 / 7);
  return options_.multiplier + options_.multiplier_growth * k;
}

void F2SA::lower_step(Oracles& oracles, double lambda) {
  const Sample zeta = oracles.draw_lower("lower_batches");
  const Sample zeta_w = options_.samples == "shared" ? zeta : oracles.draw_lower("lower_minimizer_batches");
  {
    const PointScope at_w(oracles, oracles.x().flat(), w_);
    w_ = w_ - steps_.lower(k_) * oracles.lower_gradient(zeta_w);
  }
  torch::Tensor of_f;
  {
    const FrozenScope frozen(oracles.x());  // grad_y alone: no graph through x
    of_f = oracles.upper_point(oracles.draw_upper("lower_upper_batches")).grad_y();
  }
  oracles.y().add(of_f + lambda * oracles.lower_gradient(zeta), -steps_.lower(k_) / (1 + lambda));
}

StepReport F2SA::step(Oracles& oracles) {
  const double lambda = multiplier();
  for (int64_t n = 0; n < options_.lower_steps; ++n) lower_step(oracles, lambda);

  const JointGradient f = oracles.upper_gradient(oracles.draw_upper("upper_batches"));
  const Sample zeta = oracles.draw_lower("cross_batches");
  const torch::Tensor at_y = oracles.lower_joint_gradient(zeta).x;
  torch::Tensor at_w;
  {
    const PointScope point(oracles, oracles.x().flat(), w_);
    at_w = oracles.lower_joint_gradient(zeta).x;
  }
  const torch::Tensor h = f.x + lambda * (at_y - at_w);
  oracles.move_x(h, -steps_.upper(k_));  // x_{k+1}
  ++k_;                                  // lambda_{k+1}
  return {.upper_loss = f.value, .hypergradient = h, .linear_residual = {}, .failure = ""};
}

void F2SA::state(State& state) {
  state.value("k", k_);
  state.tensor("w", w_);
  state.scope("step_sizes", [&](State& inner) { steps_.state(inner); });
}

SolverEntry f2sa_entry() {
  return {.name = "f2sa",
          .summary = "first derivatives only: a growing penalty and two copies of y (F2SA)",
          .make = [] { return std::make_unique<F2SA>(); },
          .documented_calls =
              [](Solver& solver, int64_t steps) {
                const F2SAOptions& options = dynamic_cast<F2SA&>(solver).options();
                OracleCounts calls;
                calls.lower_gradient = 2 * steps * options.lower_steps;
                calls.upper_gradient = steps * (options.lower_steps + 1);
                calls.lower_joint_gradient = 2 * steps;
                return calls;
              },
          .lower_descends_upper = true};
}

}  // namespace bilevel
