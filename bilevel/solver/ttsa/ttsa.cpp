#include "bilevel/solver/ttsa/ttsa.h"

namespace bilevel {

void TTSAOptions::fields(Fields& f) {
  step_size_fields(f, *this);
  neumann_fields(f, neumann_step_size, neumann_terms,
                 "summands of the Neumann series that is truncated at random (Q)");
  schedule_fields(f, *this);
}

void TTSA::begin(Oracles&) {
  estimator_ = NeumannEstimator(steps_.neumann(), options_.neumann_terms, /*random_truncation=*/true);
}

StepReport TTSA::iterate(Oracles& oracles) {
  oracles.y().add(oracles.lower().gradient_in_y(oracles.lower().draw("lower_batches")),
                  -steps_.lower(k_));                                              // y_{k+1}
  const Hypergradient h = estimator_.evaluate(oracles, estimator_.draw(oracles));  // at (x_k, y_{k+1})
  oracles.upper().move(h.value, -steps_.upper(k_));                                // x_{k+1}
  return {.upper_loss = h.upper_loss, .hypergradient = h.value, .linear_residual = h.linear.residual};
}

void TTSA::variables(State& state) { state.part("estimator", estimator_); }

SolverEntry ttsa_entry() {
  return solver_entry<TTSA>(
      {.summary = "one SGD step on y, then one on x, with a Neumann series truncated at random (TTSA)",
       .documented_calls =
           by_options<TTSA>([](const auto& o, int64_t steps) {  // expected: p is uniform in {0, ..., Q-1}
             return implicit_calls(steps, steps, steps * (o.neumann_terms - 1) / 2);
           }),
       .assumptions = {.sampling = Sampling::independent},
       .random_estimate = true});
}

}  // namespace bilevel
