#include "bilevel/solver/ttsa/ttsa.h"

namespace bilevel {

void TTSAOptions::fields(Fields& f) {
  step_size_fields(f, *this);
  neumann_fields(f, neumann_step_size, neumann_terms,
                 "summands of the Neumann series that is truncated at random (Q)");
  schedule_fields(f, *this);
}

void TTSA::start(Oracles& oracles, int64_t max_steps) {
  fields_of(options_).validate();
  steps_ = StepSizes(oracles, step_size_options(options_, {.upper = 3.0 / 5, .lower = 2.0 / 5}), max_steps);
  estimator_ = NeumannEstimator(steps_.neumann(), options_.neumann_terms, /*random_truncation=*/true);
  k_ = 0;
}

StepReport TTSA::step(Oracles& oracles) {
  oracles.y().add(oracles.lower().gradient_in_y(oracles.lower().draw("lower_batches")),
                  -steps_.lower(k_));                                              // y_{k+1}
  const Hypergradient h = estimator_.evaluate(oracles, estimator_.draw(oracles));  // at (x_k, y_{k+1})
  oracles.upper().move(h.value, -steps_.upper(k_));                                // x_{k+1}
  ++k_;
  return {.upper_loss = h.upper_loss, .hypergradient = h.value, .linear_residual = h.linear.residual};
}

void TTSA::state(State& state) {
  state.value("k", k_);
  state.scope("step_sizes", [&](State& inner) { steps_.state(inner); });
  state.scope("estimator", [&](State& inner) { estimator_.state(inner); });
}

SolverEntry ttsa_entry() {
  return {.name = "ttsa",
          .summary = "one SGD step on y, then one on x, with a Neumann series truncated at random (TTSA)",
          .make = [] { return std::make_unique<TTSA>(); },
          .documented_calls =
              [](Solver& solver, int64_t steps) {
                OracleCounts calls;
                calls.lower_gradient = steps;
                calls.upper_gradient = steps;
                // Expected: p is uniform in {0, ..., Q-1}.
                calls.hvp = steps * (dynamic_cast<TTSA&>(solver).options().neumann_terms - 1) / 2;
                calls.cross_vjp = steps;
                return calls;
              },
          .assumptions = {.sampling = Sampling::independent},
          .random_estimate = true};
}

}  // namespace bilevel
