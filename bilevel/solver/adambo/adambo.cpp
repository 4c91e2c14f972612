#include "bilevel/solver/adambo/adambo.h"

#include <cmath>
#include <numbers>

#include "bilevel/hypergrad/implicit.h"
#include "bilevel/linear/neumann/neumann.h"
#include "bilevel/oracle/curvature.h"

namespace bilevel {

void AdamBOOptions::fields(Fields& f) {
  f.number("upper_step_size", upper_step_size, kPositive, "step size of Adam on x (eta_x)");
  f.step_size("lower_step_size", lower_step_size,
              "step size on y (eta_y); auto: 1/(2l), l the largest curvature of g in y (lower_rule adam: 10 "
              "* upper_step_size)");
  f.step_size("neumann_step_size", neumann_step_size, "scale of the Neumann series (eta_N); auto: 1/l");
  f.integer("neumann_terms", neumann_terms, kAtLeastOne, "summands of the Neumann series (Q)");
  f.integer("warm_start_steps", warm_start_steps, kNonNegative,
            "steps on y alone before the first iteration (T0)");
  f.number("momentum_weight", momentum_weight, kWeight,
           "weight of the new gradient in Adam's first moment (theta_m)");
  f.number("second_moment_weight", second_moment_weight, kWeight,
           "weight of the new squared gradient in Adam's second moment (theta_v)");
  f.number("epsilon", epsilon, kPositive, "added to the root of the second moment (lambda)");
  f.choice("lower_rule", lower_rule, {"sgd", "adam"}, "update of y");
  f.integer("lower_steps", lower_steps, kAtLeastOne, "steps on y an iteration");
  f.choice("order", order, {"simultaneous", "gauss_seidel"},
           "whether the hypergradient reads y before its update or after");
  f.choice("samples", samples, {"independent", "shared"},
           "whether every oracle call has samples of its own, or one lower batch serves the step");
  f.choice("schedule", schedule, {"constant", "cosine"},
           "course of upper_step_size; cosine ends at zero with the run");
}

void AdamBO::start(Oracles& oracles, int64_t max_steps) {
  fields_of(options_).validate();
  const auto& [lower, neumann] = std::pair{options_.lower_step_size, options_.neumann_step_size};
  const bool adam_on_y = options_.lower_rule == "adam";
  const bool needs_curvature = neumann.automatic() || (lower.automatic() && !adam_on_y);
  const Curvature curvature = needs_curvature ? largest_curvature(oracles) : Curvature{};
  neumann_step_size_ =
      neumann.automatic() ? automatic_step_size(curvature, "neumann_step_size") : *neumann.value;
  lower_step_size_ = !lower.automatic() ? *lower.value
                     : adam_on_y        ? 10 * options_.upper_step_size
                                        : automatic_step_size(curvature, "lower_step_size") / 2;
  const AdamWeights weights{options_.momentum_weight, options_.second_moment_weight, options_.epsilon};
  lower_rule_ =
      LowerRule(options_.lower_rule, options_.lower_steps, lower_step_size_, weights, oracles.y().flat());
  adam_ = Adam(weights, oracles.x().flat());
  t_ = 0;
  max_steps_ = max_steps;
}

void AdamBO::warm_start(Oracles& oracles) {
  for (int64_t k = 0; k < options_.warm_start_steps; ++k) {  // y <- y - eta_y grad_y G(x_1, y; pi_k)
    lower_rule_.step(oracles.y(), oracles.lower_gradient(oracles.draw_lower("warm_start")));
  }
}

StepReport AdamBO::step(Oracles& oracles) {
  ++t_;
  const bool shared = options_.samples == "shared";
  const Sample xi = oracles.draw_upper("upper_batches");
  const Sample zeta = shared ? oracles.draw_lower("lower_batches") : Sample{};
  torch::Tensor first_gradient;  // grad_y G(x_t, y_t; zeta_t), where the hypergradient's point has it already

  const auto update_lower = [&] {  // y_{t+1}
    lower_rule_.advance(oracles.y(), [&] {
      if (first_gradient.defined()) return std::exchange(first_gradient, {});
      return oracles.lower_gradient(shared ? zeta : oracles.draw_lower("lower_batches"));
    });
  };
  const auto hypergradient = [&] {  // g_t
    auto [upper, lower] = oracles.points(xi, shared ? zeta : oracles.draw_lower("cross_batches"));
    if (shared && options_.order == "simultaneous") first_gradient = lower.grad_y();
    const LinearOperator hessian =
        shared ? point_hessian(lower) : sampled_hessian(oracles, "neumann_batches");
    return implicit_hypergradient(oracles, upper, lower, [&](const torch::Tensor& b) {
      return neumann(hessian, b, neumann_step_size_, options_.neumann_terms);
    });
  };

  if (options_.order == "gauss_seidel") update_lower();
  const Hypergradient g = hypergradient();
  if (options_.order == "simultaneous") update_lower();
  adam_.step(oracles.x(), g.value, upper_step_size());  // m_t, v_t, x_{t+1}
  return {.upper_loss = g.upper_loss,
          .hypergradient = g.value,
          .linear_residual = g.linear.residual,
          .failure = ""};
}

double AdamBO::upper_step_size() const {
  if (options_.schedule == "constant") return options_.upper_step_size;
  const double progress = static_cast<double>(t_ - 1) / static_cast<double>(max_steps_);
  return options_.upper_step_size * 0.5 * (1 + std::cos(std::numbers::pi * progress));
}

void AdamBO::state(State& state) {
  state.value("t", t_);
  state.value("max_steps", max_steps_);
  state.value("lower_step_size", lower_step_size_);
  state.value("neumann_step_size", neumann_step_size_);
  state.scope("adam", [&](State& inner) { adam_.state(inner); });
  state.scope("lower_rule", [&](State& inner) { lower_rule_.state(inner); });
}

nlohmann::ordered_json AdamBO::chosen() const {
  return {{"lower_step_size", lower_step_size_}, {"neumann_step_size", neumann_step_size_}};
}

SolverEntry adambo_entry() {
  return {.name = "adambo",
          .summary =
              "Adam on x, SGD on y, Neumann hypergradient; one loop, for upper objectives of unbounded "
              "smoothness",
          .make = [] { return std::make_unique<AdamBO>(); },
          .documented_calls =
              [](Solver& solver, int64_t steps) {
                const AdamBOOptions& options = dynamic_cast<AdamBO&>(solver).options();
                OracleCounts calls;
                calls.lower_gradient = steps * options.lower_steps;
                calls.upper_gradient = steps;
                calls.hvp = steps * (options.neumann_terms - 1);
                calls.cross_vjp = steps;
                return calls;
              }};
}

}  // namespace bilevel
