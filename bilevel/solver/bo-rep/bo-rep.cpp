#include "bilevel/solver/bo-rep/bo-rep.h"

#include <cmath>

#include "bilevel/core/flat.h"
#include "bilevel/problem/sets.h"
#include "bilevel/solver/parts/single_loop.h"

namespace bilevel {
namespace {

struct AveragedSGD {
  std::string stream;  ///< of the lower samples
  double step_size;
  int64_t steps;
  double radius;  ///< of the ball about the present y; 0: none
};

/// y <- the average of the iterates of projected SGD on y from the present y, at fixed x.
void averaged_sgd(Oracles& oracles, const AveragedSGD& rule) {
  Parameters& y = oracles.y();
  const Projection project = rule.radius > 0 ? ball(rule.radius, copy_of(y.flat())) : nullptr;
  const torch::Tensor average = zeros_of(y.flat());
  for (int64_t j = 0; j < rule.steps; ++j) {
    y.add(oracles.lower().gradient_in_y(oracles.lower().draw(rule.stream)), -rule.step_size);
    if (project) y.assign(project(y.flat()));
    axpy(1 / static_cast<double>(rule.steps), y.flat(), average);
  }
  y.assign(average);
}

}  // namespace

void BOREPOptions::fields(Fields& f) {
  step_size_fields(f, *this);
  f.integer("lower_steps", lower_steps, kAtLeastOne, "steps of a lower update (N), whose average y becomes")
      .search(1, 10);
  f.integer("period", period, kAtLeastOne, "iterations from one lower update to the next (I)").search(1, 10);
  f.number("ball_radius", ball_radius, kNonNegative,
           "radius of the ball about y that a lower update stays in; 0: no ball");
  f.integer("refinement_stages", refinement_stages, {.low = 0, .high = 30},
            "stages of SGD on y alone before the first iteration; each halves the step size and doubles the "
            "length; 0: none");
  f.integer("refinement_steps", refinement_steps, kAtLeastOne, "steps of the first stage");
  f.number("refinement_radius", refinement_radius, kNonNegative,
           "radius of the ball of the first stage, which shrinks by the root of 2 with each; 0: no ball");
  momentum_weight_field(f, momentum_weight, "weight of the new hypergradient in the momentum (theta)");
  single_loop_samples_field(f, samples);
  schedule_fields(f, *this);
}

void BOREP::begin(Oracles& oracles) {
  z_ = torch::zeros_like(oracles.y().flat());
  m_ = torch::zeros_like(oracles.x().flat());
}

void BOREP::warm_start(Oracles& oracles) {  // initialization refinement
  for (int64_t s = 0; s < options_.refinement_stages; ++s) {
    averaged_sgd(oracles, {.stream = "warm_start",
                           .step_size = std::ldexp(steps_.lower(), -static_cast<int>(s)),
                           .steps = options_.refinement_steps << s,
                           .radius = options_.refinement_radius * std::exp2(-0.5 * static_cast<double>(s))});
  }
}

StepReport BOREP::iterate(Oracles& oracles) {
  const double theta = options_.momentum_weight;
  if (k_ > 0 && k_ % options_.period == 0) {  // y_k; else it stays
    averaged_sgd(oracles, {.stream = "lower_batches",
                           .step_size = steps_.lower(k_),
                           .steps = options_.lower_steps,
                           .radius = options_.ball_radius});
  }
  const SingleLoopStep at =
      single_loop_step(oracles, z_, {.lower_step_size = {}, .shared = options_.samples == Samples::shared});
  axpy(-steps_.linear(k_), at.residual, z_);       // z_{k+1}
  axpby(theta, at.hypergradient, 1 - theta, m_);   // m_{k+1}, from z_k
  normalized_step(oracles, m_, steps_.upper(k_));  // x_{k+1}
  return {.upper_loss = at.upper_loss,
          .hypergradient = at.hypergradient,
          .linear_residual = flat_norm(at.residual)};
}

void BOREP::variables(State& state) {
  state.tensor("z", z_);
  state.tensor("m", m_);
}

SolverEntry bo_rep_entry() {
  return solver_entry<BOREP>(
      {.summary = "normalized momentum on x, SGD on the linear system, y refined once and then updated "
                  "periodically; for upper objectives of unbounded smoothness",
       .documented_calls = by_options<BOREP>([](const auto& o, int64_t steps) {
         const int64_t updates = steps > 0 ? (steps - 1) / o.period : 0;
         return implicit_calls(updates * o.lower_steps, steps, steps);
       }),
       .movement = Movement::normalized,
       .assumptions = {.smoothness = Smoothness::unbounded, .sampling = Sampling::independent}});
}

}  // namespace bilevel
