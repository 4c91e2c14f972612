#include "bilevel/solver/mrbo/mrbo.h"

namespace bilevel {

void MrboOptions::fields(Fields& f) {
  step_size_fields(f, *this);
  neumann_fields(f, neumann_step_size, neumann_terms,
                 "summands of the Neumann series (Q + 1): Q Hessian-vector products");
  storm_weight_fields(f, *this);
  schedule_fields(f, *this);
}

void Mrbo::start(Oracles& oracles, int64_t max_steps) {
  fields_of(options_).validate();
  storm_ = Storm(oracles,
                 {.step_sizes = step_size_options(options_),
                  .momentum_weight = options_.momentum_weight,
                  .lower_momentum_weight = options_.lower_momentum_weight,
                  .summands = options_.neumann_terms,
                  .random_truncation = false},
                 max_steps);
}

SolverEntry mrbo_entry() {
  return {.name = "mrbo",
          .summary = "recursive momentum on x and y, Neumann hypergradient; one loop",
          .make = [] { return std::make_unique<Mrbo>(); },
          .documented_calls =
              [](Solver& solver, int64_t steps) {
                const int64_t evaluations = steps > 0 ? 2 * steps - 1 : 0;
                OracleCounts calls;
                calls.lower_gradient = calls.upper_gradient = calls.cross_vjp = evaluations;
                calls.hvp = evaluations * (dynamic_cast<Mrbo&>(solver).options().neumann_terms - 1);
                return calls;
              },
          .assumptions = {.sampling = Sampling::mean_square}};
}

}  // namespace bilevel
