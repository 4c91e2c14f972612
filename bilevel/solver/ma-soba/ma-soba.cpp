#include "bilevel/solver/ma-soba/ma-soba.h"

#include "bilevel/core/flat.h"
#include "bilevel/solver/parts/single_loop.h"

namespace bilevel {

void MASOBAOptions::fields(Fields& f) {
  step_size_fields(f, *this);
  momentum_weight_field(f, momentum_weight, "weight of the new hypergradient in the average (theta)");
  f.choice("average", average,
           "whether x moves by the average before this step's hypergradient (the paper's form) or with it");
  order_field(f, order);
  single_loop_samples_field(f, samples);
  schedule_fields(f, *this);
}

void MASOBA::begin(Oracles& oracles) {
  z_ = torch::zeros_like(oracles.y().flat());
  h_ = torch::zeros_like(oracles.x().flat());
}

StepReport MASOBA::iterate(Oracles& oracles) {
  const double theta = options_.momentum_weight;
  const SingleLoopStep at = single_loop_step(oracles, z_,
                                             {.lower_step_size = steps_.lower(k_),  // y_{k+1}
                                              .gauss_seidel = options_.order == Order::gauss_seidel,
                                              .shared = options_.samples == Samples::shared});
  axpy(-steps_.linear(k_), at.residual, z_);                                 // z_{k+1}
  const auto step_x = [&] { oracles.upper().move(h_, -steps_.upper(k_)); };  // x_{k+1}
  if (options_.average == MovingAverage::before) step_x();
  axpby(theta, at.hypergradient, 1 - theta, h_);  // h_{k+1}, from z_k
  if (options_.average != MovingAverage::before) step_x();
  return {.upper_loss = at.upper_loss,
          .hypergradient = at.hypergradient,
          .linear_residual = flat_norm(at.residual)};
}

void MASOBA::variables(State& state) {
  state.tensor("z", z_);
  state.tensor("h", h_);
}

SolverEntry ma_soba_entry() {
  return solver_entry<MASOBA>(
      {.summary = "SOBA whose x follows a moving average of the hypergradients",
       .documented_calls = [](Solver&, int64_t steps) { return implicit_calls(steps, steps, steps); }});
}

}  // namespace bilevel
