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

StepReport AidCg::iterate(Oracles& oracles) {
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
  return {.upper_loss = g.upper_loss,
          .hypergradient = g.value,
          .linear_residual = g.linear.residual,
          .failure = g.linear.failed ? g.linear.message : ""};
}

SolverEntry aid_cg_entry() {
  return solver_entry<AidCg>(
      {.summary = "SGD steps on y, conjugate gradients for z, SGD on x; for deterministic problems",
       .documented_calls = by_options<AidCg>([](const auto& o, int64_t steps) {  // CG ends early where it can
         return implicit_calls(steps * o.lower_steps, steps, steps * o.linear_steps);
       }),
       .calls_are_a_bound = true,
       .assumptions = {.noise = Noise::none}});
}

}  // namespace bilevel
