#include "bilevel/solver/stocbio/stocbio.h"

namespace bilevel {

void StocBiOOptions::fields(Fields& f) {
  step_size_fields(f, *this);
  neumann_fields(f, neumann_step_size, neumann_terms,
                 "summands of the Neumann series (Q + 1): Q Hessian-vector products");
  f.integer("lower_steps", lower_steps, kAtLeastOne, "steps on y an iteration (N)").search(1, 20);
  schedule_fields(f, *this);
}

void StocBiO::begin(Oracles& oracles) {
  lower_rule_ = LowerRule(LowerStep::sgd, options_.lower_steps, {}, oracles.y().flat());
  estimator_ = NeumannEstimator(steps_.neumann(), options_.neumann_terms, /*random_truncation=*/false);
}

StepReport StocBiO::iterate(Oracles& oracles) {
  lower_rule_.advance(oracles.y(), steps_.lower(k_), [&] {  // y_{k,1}, ..., y_{k,N}
    return oracles.lower().gradient_in_y(oracles.lower().draw("lower_batches"));
  });
  const Hypergradient h =
      estimator_.evaluate(oracles, estimator_.draw(oracles));  // z_k and the hypergradient
  oracles.upper().move(h.value, -steps_.upper(k_));            // x_{k+1}
  return {.upper_loss = h.upper_loss, .hypergradient = h.value, .linear_residual = h.linear.residual};
}

void StocBiO::variables(State& state) { state.part("estimator", estimator_); }

SolverEntry stocbio_entry() {
  return solver_entry<StocBiO>(
      {.summary = "several SGD steps on y, Neumann hypergradient, one SGD step on x (StocBiO)",
       .documented_calls = by_options<StocBiO>([](const auto& o, int64_t steps) {
         return implicit_calls(steps * o.lower_steps, steps, steps * (o.neumann_terms - 1));
       }),
       .assumptions = {.sampling = Sampling::independent}});
}

}  // namespace bilevel
