#include "bilevel/solver/amigo/amigo.h"

#include "bilevel/hypergrad/implicit.h"
#include "bilevel/linear/sgd/sgd.h"

namespace bilevel {

void AmIGOOptions::fields(Fields& f) {
  step_size_fields(f, *this);
  f.integer("lower_steps", lower_steps, kAtLeastOne, "steps on y an iteration").search(1, 20);
  f.integer("linear_steps", linear_steps, kAtLeastOne, "steps on z an iteration").search(1, 20);
  schedule_fields(f, *this);
}

void AmIGO::begin(Oracles& oracles) {
  lower_rule_ = LowerRule(LowerStep::sgd, options_.lower_steps, {}, oracles.y().flat());
  z_ = torch::zeros_like(oracles.y().flat());
}

StepReport AmIGO::iterate(Oracles& oracles) {
  lower_rule_.advance(oracles.y(), steps_.lower(k_), [&] {  // y_{k+1}
    return oracles.lower().gradient_in_y(oracles.lower().draw("lower_batches"));
  });
  auto [upper, lower] =
      oracles.points(oracles.upper().draw("upper_batches"), oracles.lower().draw("cross_batches"));
  const Hypergradient h = implicit_hypergradient(oracles, upper, lower, [&](const torch::Tensor& b) {
    return linear_sgd(sampled_hessian(oracles, "linear_batches"), b, z_, steps_.linear(k_),
                      options_.linear_steps);
  });
  z_ = h.linear.z;                                   // z_{k+1}
  oracles.upper().move(h.value, -steps_.upper(k_));  // x_{k+1}
  return {.upper_loss = h.upper_loss, .hypergradient = h.value, .linear_residual = h.linear.residual};
}

void AmIGO::variables(State& state) { state.tensor("z", z_); }

SolverEntry amigo_entry() {
  return solver_entry<AmIGO>(
      {.summary = "several SGD steps on y, then on z with grad_y F held fixed, one step on x (AmIGO)",
       .documented_calls = by_options<AmIGO>([](const auto& o, int64_t steps) {
         return implicit_calls(steps * o.lower_steps, steps, steps * o.linear_steps);
       }),
       .assumptions = {.sampling = Sampling::independent}});
}

}  // namespace bilevel
