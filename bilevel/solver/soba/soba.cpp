#include "bilevel/solver/soba/soba.h"

#include "bilevel/core/flat.h"
#include "bilevel/solver/parts/single_loop.h"

namespace bilevel {

void SOBAOptions::fields(Fields& f) {
  step_size_fields(f, *this);
  order_field(f, order);
  single_loop_samples_field(f, samples);
  schedule_fields(f, *this);
}

void SOBA::begin(Oracles& oracles) { z_ = torch::zeros_like(oracles.y().flat()); }

StepReport SOBA::iterate(Oracles& oracles) {
  const SingleLoopStep at = single_loop_step(oracles, z_,
                                             {.lower_step_size = steps_.lower(k_),  // y_{k+1}
                                              .gauss_seidel = options_.order == Order::gauss_seidel,
                                              .shared = options_.samples == Samples::shared});
  axpy(-steps_.linear(k_), at.residual, z_);                  // z_{k+1}
  oracles.upper().move(at.hypergradient, -steps_.upper(k_));  // x_{k+1}
  return {.upper_loss = at.upper_loss,
          .hypergradient = at.hypergradient,
          .linear_residual = flat_norm(at.residual)};
}

void SOBA::variables(State& state) { state.tensor("z", z_); }

SolverEntry soba_entry() {
  return solver_entry<SOBA>(
      {.summary = "SGD on x, y and the linear system from one lower and one upper batch; one loop",
       .documented_calls = [](Solver&, int64_t steps) { return implicit_calls(steps, steps, steps); }});
}

}  // namespace bilevel
