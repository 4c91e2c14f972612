#include "bilevel/solver/stocbio/stocbio.h"

namespace bilevel {

void StocBiOOptions::fields(Fields& f) {
  step_size_fields(f, *this);
  neumann_fields(f, neumann_step_size, neumann_terms,
                 "summands of the Neumann series (Q + 1): Q Hessian-vector products");
  f.integer("lower_steps", lower_steps, kAtLeastOne, "steps on y an iteration (N)").search(1, 20);
  schedule_fields(f, *this);
}

void StocBiO::start(Oracles& oracles, int64_t max_steps) {
  fields_of(options_).validate();
  steps_ = StepSizes(oracles, step_size_options(options_), max_steps);
  lower_rule_ = LowerRule(LowerStep::sgd, options_.lower_steps, {}, oracles.y().flat());
  estimator_ = NeumannEstimator(steps_.neumann(), options_.neumann_terms, /*random_truncation=*/false);
  k_ = 0;
}

StepReport StocBiO::step(Oracles& oracles) {
  lower_rule_.advance(oracles.y(), steps_.lower(k_), [&] {  // y_{k,1}, ..., y_{k,N}
    return oracles.lower().gradient_in_y(oracles.lower().draw("lower_batches"));
  });
  const Hypergradient h =
      estimator_.evaluate(oracles, estimator_.draw(oracles));  // z_k and the hypergradient
  oracles.upper().move(h.value, -steps_.upper(k_));            // x_{k+1}
  ++k_;
  return {.upper_loss = h.upper_loss, .hypergradient = h.value, .linear_residual = h.linear.residual};
}

void StocBiO::state(State& state) {
  state.value("k", k_);
  state.scope("step_sizes", [&](State& inner) { steps_.state(inner); });
  state.scope("estimator", [&](State& inner) { estimator_.state(inner); });
}

SolverEntry stocbio_entry() {
  return {.name = "stocbio",
          .summary = "several SGD steps on y, Neumann hypergradient, one SGD step on x (StocBiO)",
          .make = [] { return std::make_unique<StocBiO>(); },
          .documented_calls =
              [](Solver& solver, int64_t steps) {
                const StocBiOOptions& options = dynamic_cast<StocBiO&>(solver).options();
                OracleCounts calls;
                calls.lower_gradient = steps * options.lower_steps;
                calls.upper_gradient = steps;
                calls.hvp = steps * (options.neumann_terms - 1);
                calls.cross_vjp = steps;
                return calls;
              },
          .assumptions = {.sampling = Sampling::independent}};
}

}  // namespace bilevel
