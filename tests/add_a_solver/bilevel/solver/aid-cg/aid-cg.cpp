#include "bilevel/solver/aid-cg/aid-cg.h"

#include "bilevel/hypergrad/implicit.h"
#include "bilevel/linear/cg/cg.h"

namespace bilevel {

void AidCgOptions::fields(Fields& f) {
  step_size_fields(f, *this);
  f.integer("lower_steps", lower_steps, kAtLeastOne, "steps on y an iteration (N)");
  f.integer("linear_steps", linear_steps, kAtLeastOne, "iterations of CG on H z = b at most (M)");
  schedule_fields(f, *this);
}

void AidCg::start(Oracles& oracles, int64_t max_steps) {
  fields_of(options_).validate();
  steps_ = StepSizes(oracles,
                     {.upper = options_.upper_step_size,
                      .lower = options_.lower_step_size,
                      .schedule = options_.schedule,
                      .lower_schedule = options_.lower_schedule},
                     max_steps);
  k_ = 0;
}

StepReport AidCg::step(Oracles& oracles) {
  for (int64_t n = 0; n < options_.lower_steps; ++n) {  // y <- y - eta_y grad_y G(x_k, y; zeta_kn)
    oracles.y().add(oracles.lower().gradient_in_y(oracles.lower().draw("lower_batches")), -steps_.lower(k_));
  }
  auto [upper, lower] =
      oracles.points(oracles.upper().draw("upper_batches"), oracles.lower().draw("linear_batches"));
  const LinearOperator hessian = point_hessian(lower);
  const Hypergradient g = implicit_hypergradient(oracles, upper, lower, [&](const torch::Tensor& b) {
    return conjugate_gradients(hessian, b, {.max_iterations = options_.linear_steps});  // z_k
  });
  if (!g.linear.failed) oracles.upper().move(g.value, -steps_.upper(k_));  // x_{k+1}
  ++k_;
  return {.upper_loss = g.upper_loss,
          .hypergradient = g.value,
          .linear_residual = g.linear.residual,
          .failure = g.linear.failed ? g.linear.message : ""};
}

void AidCg::state(State& state) {
  state.value("k", k_);
  state.scope("step_sizes", [&](State& inner) { steps_.state(inner); });
}

SolverEntry aid_cg_entry() {
  return {.name = "aid-cg",
          .summary = "SGD steps on y, conjugate gradients for z, SGD on x; for deterministic problems",
          .make = [] { return std::make_unique<AidCg>(); },
          .documented_calls =
              [](Solver& solver, int64_t steps) {
                const AidCgOptions& options = dynamic_cast<AidCg&>(solver).options();
                OracleCounts calls;
                calls.lower_gradient = steps * options.lower_steps;
                calls.upper_gradient = steps;
                calls.hvp = steps * options.linear_steps;  // CG ends early where it can
                calls.cross_vjp = steps;
                return calls;
              },
          .calls_are_a_bound = true,
          .assumptions = {.noise = Noise::none}};
}

}  // namespace bilevel
