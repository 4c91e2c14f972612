#include "bilevel/solver/sustain/sustain.h"

namespace bilevel {

void SustainOptions::fields(Fields& f) {
  step_size_fields(f, *this);
  neumann_fields(f, neumann_step_size, neumann_terms,
                 "summands of the Neumann series, of which one stands for all (Q)");
  storm_weight_fields(f, *this);
  schedule_fields(f, *this);
}

void Sustain::start(Oracles& oracles, int64_t max_steps) {
  fields_of(options_).validate();
  storm_ = Storm(oracles,
                 {.step_sizes = step_size_options(options_),
                  .momentum_weight = options_.momentum_weight,
                  .lower_momentum_weight = options_.lower_momentum_weight,
                  .summands = options_.neumann_terms,
                  .random_truncation = true},
                 max_steps);
}

SolverEntry sustain_entry() {
  return {.name = "sustain",
          .summary = "recursive momentum on x and y, randomly truncated Neumann hypergradient; one loop",
          .make = [] { return std::make_unique<Sustain>(); },
          .documented_calls =
              [](Solver& solver, int64_t steps) {
                const int64_t evaluations = steps > 0 ? 2 * steps - 1 : 0;
                OracleCounts calls;
                calls.lower_gradient = calls.upper_gradient = calls.cross_vjp = evaluations;
                // Expected: p is uniform in {0, ..., Q-1}.
                calls.hvp = evaluations * (dynamic_cast<Sustain&>(solver).options().neumann_terms - 1) / 2;
                return calls;
              },
          .assumptions = {.sampling = Sampling::mean_square},
          .random_estimate = true};
}

}  // namespace bilevel
