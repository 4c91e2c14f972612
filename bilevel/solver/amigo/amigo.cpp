#include "bilevel/solver/amigo/amigo.h"

#include "bilevel/hypergrad/implicit.h"
#include "bilevel/linear/sgd/sgd.h"

namespace bilevel {

void AmIGOOptions::fields(Fields& f) {
  upper_step_size_field(f, upper_step_size);
  lower_step_size_field(f, lower_step_size);
  linear_step_size_field(f, linear_step_size);
  f.integer("lower_steps", lower_steps, kAtLeastOne, "steps on y an iteration").search(1, 20);
  f.integer("linear_steps", linear_steps, kAtLeastOne, "steps on z an iteration").search(1, 20);
  schedule_field(f, schedule);
  lower_schedule_field(f, lower_schedule);
  linear_schedule_field(f, linear_schedule);
}

void AmIGO::start(Oracles& oracles, int64_t max_steps) {
  fields_of(options_).validate();
  steps_ = StepSizes(oracles, step_size_options(options_), max_steps);
  lower_rule_ = LowerRule("sgd", options_.lower_steps, {}, oracles.y().flat());
  z_ = torch::zeros_like(oracles.y().flat());
  k_ = 0;
}

StepReport AmIGO::step(Oracles& oracles) {
  lower_rule_.advance(oracles.y(), steps_.lower(k_), [&] {  // y_{k+1}
    return oracles.lower_gradient(oracles.draw_lower("lower_batches"));
  });
  auto [upper, lower] =
      oracles.points(oracles.draw_upper("upper_batches"), oracles.draw_lower("cross_batches"));
  const Hypergradient h = implicit_hypergradient(oracles, upper, lower, [&](const torch::Tensor& b) {
    return linear_sgd(sampled_hessian(oracles, "linear_batches"), b, z_, steps_.linear(k_),
                      options_.linear_steps);
  });
  z_ = h.linear.z;                             // z_{k+1}
  oracles.move_x(h.value, -steps_.upper(k_));  // x_{k+1}
  ++k_;
  return {.upper_loss = h.upper_loss,
          .hypergradient = h.value,
          .linear_residual = h.linear.residual,
          .failure = ""};
}

void AmIGO::state(State& state) {
  state.value("k", k_);
  state.tensor("z", z_);
  state.scope("step_sizes", [&](State& inner) { steps_.state(inner); });
}

SolverEntry amigo_entry() {
  return {.name = "amigo",
          .summary = "several SGD steps on y, then on z with grad_y F held fixed, one step on x (AmIGO)",
          .make = [] { return std::make_unique<AmIGO>(); },
          .documented_calls =
              [](Solver& solver, int64_t steps) {
                const AmIGOOptions& options = dynamic_cast<AmIGO&>(solver).options();
                OracleCounts calls;
                calls.lower_gradient = steps * options.lower_steps;
                calls.upper_gradient = steps;
                calls.hvp = steps * options.linear_steps;
                calls.cross_vjp = steps;
                return calls;
              },
          .assumptions = {.sampling = Sampling::independent}};
}

}  // namespace bilevel
