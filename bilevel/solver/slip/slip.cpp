#include "bilevel/solver/slip/slip.h"

#include "bilevel/core/flat.h"
#include "bilevel/solver/parts/single_loop.h"

namespace bilevel {

void SLIPOptions::fields(Fields& f) {
  step_size_fields(f, *this);
  warm_start_field(f, warm_start_steps);
  momentum_weight_field(f, momentum_weight, "weight of the new hypergradient in the momentum (theta)");
  order_field(f, order);
  single_loop_samples_field(f, samples);
  schedule_fields(f, *this);
}

void SLIP::begin(Oracles& oracles) {
  z_ = torch::zeros_like(oracles.y().flat());
  m_ = torch::zeros_like(oracles.x().flat());
}

void SLIP::warm_start(Oracles& oracles) {
  for (int64_t k = 0; k < options_.warm_start_steps; ++k) {  // y <- y - eta_y grad_y G(x_0, y; pi_k)
    oracles.y().add(oracles.lower().gradient_in_y(oracles.lower().draw("warm_start")), -steps_.lower());
  }
}

StepReport SLIP::iterate(Oracles& oracles) {
  const double theta = options_.momentum_weight;
  const SingleLoopStep at = single_loop_step(oracles, z_,
                                             {.lower_step_size = steps_.lower(k_),  // y_{t+1}
                                              .gauss_seidel = options_.order == Order::gauss_seidel,
                                              .shared = options_.samples == Samples::shared});
  axpy(-steps_.linear(k_), at.residual, z_);       // z_{t+1}
  axpby(theta, at.hypergradient, 1 - theta, m_);   // m_{t+1}, from z_t
  normalized_step(oracles, m_, steps_.upper(k_));  // x_{t+1}
  return {.upper_loss = at.upper_loss,
          .hypergradient = at.hypergradient,
          .linear_residual = flat_norm(at.residual)};
}

void SLIP::variables(State& state) {
  state.tensor("z", z_);
  state.tensor("m", m_);
}

SolverEntry slip_entry() {
  return solver_entry<SLIP>(
      {.summary = "normalized momentum on x, SGD on y and on the linear system; one loop, for upper "
                  "objectives of unbounded smoothness",
       .documented_calls = [](Solver&, int64_t steps) { return implicit_calls(steps, steps, steps); },
       .movement = Movement::normalized,
       .assumptions = {.smoothness = Smoothness::unbounded, .sampling = Sampling::independent}});
}

}  // namespace bilevel
