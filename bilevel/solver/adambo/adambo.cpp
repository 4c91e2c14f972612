#include "bilevel/solver/adambo/adambo.h"

#include "bilevel/hypergrad/implicit.h"
#include "bilevel/linear/neumann/neumann.h"

namespace bilevel {

void AdamBOOptions::fields(Fields& f) {
  step_size_fields(f, *this);
  neumann_fields(f, neumann_step_size, neumann_terms, "summands of the Neumann series (Q)");
  warm_start_field(f, warm_start_steps);
  momentum_weight_field(f, momentum_weight, "weight of the new gradient in Adam's first moment (theta_m)");
  f.number("second_moment_weight", second_moment_weight, kWeight,
           "weight of the new squared gradient in Adam's second moment (theta_v)");
  f.number("epsilon", epsilon, kPositive, "added to the root of the second moment (lambda)");
  f.choice("lower_rule", lower_rule,
           "update of y; with adam an automatic lower_step_size is 10 * upper_step_size");
  f.integer("lower_steps", lower_steps, kAtLeastOne, "steps on y an iteration");
  order_field(f, order);
  f.choice("samples", samples,
           "whether every oracle call has samples of its own, or one lower batch serves the step");
  schedule_fields(f, *this);
}

StepSizeOptions AdamBO::step_sizes() const {
  StepSizeOptions sizes = step_size_options(options_);
  if (options_.lower_rule == LowerStep::adam && options_.lower_step_size.automatic())
    sizes.lower = 10 * options_.upper_step_size;
  return sizes;
}

void AdamBO::begin(Oracles& oracles) {
  const AdamWeights weights{options_.momentum_weight, options_.second_moment_weight, options_.epsilon};
  lower_rule_ = LowerRule(options_.lower_rule, options_.lower_steps, weights, oracles.y().flat());
  adam_ = Adam(weights, oracles.x().flat());
}

void AdamBO::warm_start(Oracles& oracles) {
  for (int64_t k = 0; k < options_.warm_start_steps; ++k) {  // y <- y - eta_y grad_y G(x_1, y; pi_k)
    lower_rule_.step(oracles.y(), steps_.lower(),
                     oracles.lower().gradient_in_y(oracles.lower().draw("warm_start")));
  }
}

StepReport AdamBO::iterate(Oracles& oracles) {
  const bool shared = options_.samples == Samples::shared;
  const Sample xi = oracles.upper().draw("upper_batches");
  const Sample zeta = shared ? oracles.lower().draw("lower_batches") : Sample{};
  torch::Tensor first_gradient;  // grad_y G(x_t, y_t; zeta_t), where the hypergradient's point has it already

  const auto update_lower = [&] {  // y_{t+1}
    lower_rule_.advance(oracles.y(), steps_.lower(k_), [&] {
      if (first_gradient.defined()) return std::exchange(first_gradient, {});
      return oracles.lower().gradient_in_y(shared ? zeta : oracles.lower().draw("lower_batches"));
    });
  };
  const auto hypergradient = [&] {  // g_t
    auto [upper, lower] = oracles.points(xi, shared ? zeta : oracles.lower().draw("cross_batches"));
    if (shared && options_.order == Order::simultaneous) first_gradient = lower.grad_y();
    const LinearOperator hessian =
        shared ? point_hessian(lower) : sampled_hessian(oracles, "neumann_batches");
    return implicit_hypergradient(oracles, upper, lower, [&](const torch::Tensor& b) {
      return neumann(hessian, b, steps_.neumann(), options_.neumann_terms);
    });
  };

  if (options_.order == Order::gauss_seidel) update_lower();
  const Hypergradient g = hypergradient();
  if (options_.order == Order::simultaneous) update_lower();
  adam_.step(oracles.x(), g.value, steps_.upper(k_));  // m_t, v_t, x_{t+1}
  oracles.upper().project();
  return {.upper_loss = g.upper_loss, .hypergradient = g.value, .linear_residual = g.linear.residual};
}

void AdamBO::variables(State& state) {
  state.part("adam", adam_);
  state.part("lower_rule", lower_rule_);
}

SolverEntry adambo_entry() {
  return solver_entry<AdamBO>(
      {.summary = "Adam on x, SGD on y, Neumann hypergradient; one loop, for upper objectives of unbounded "
                  "smoothness",
       .documented_calls = by_options<AdamBO>([](const auto& o, int64_t steps) {
         return implicit_calls(steps * o.lower_steps, steps, steps * (o.neumann_terms - 1));
       }),
       .movement = Movement::adaptive,
       .assumptions = {.smoothness = Smoothness::unbounded,
                       .sampling = Sampling::independent,
                       .of_options = "`lower_rule = sgd`"},
       .under_options =
           by_options<AdamBO>([](const auto& options, const ProblemTraits&, Assumptions& assumptions) {
             if (options.lower_rule != LowerStep::sgd)
               assumptions.broken.emplace_back("it moves y by SGD, but lower_rule = adam does not");
           })});
}

}  // namespace bilevel
