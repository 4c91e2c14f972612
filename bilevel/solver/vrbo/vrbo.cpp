#include "bilevel/solver/vrbo/vrbo.h"

#include "bilevel/core/flat.h"

namespace bilevel {

void VrboOptions::fields(Fields& f) {
  step_size_fields(f, *this);
  neumann_fields(f, neumann_step_size, neumann_terms,
                 "summands of the Neumann series (Q + 1): Q Hessian-vector products");
  f.integer("period", period, kAtLeastOne, "iterations from one refresh of both directions to the next (q)");
  f.integer("lower_steps", lower_steps, kAtLeastOne, "steps on y an iteration, each with a difference (m)");
  f.integer("refresh_batches", refresh_batches, kAtLeastOne, "batches that a refresh averages over (S1)");
  f.choice("old_point", old_point,
           "old point of an iteration's first difference: the iteration's start (x_k, y_k), or where the "
           "directions were updated last");
  schedule_fields(f, *this);
}

void Vrbo::begin(Oracles& oracles) {
  estimator_ = NeumannEstimator(steps_.neumann(), options_.neumann_terms, /*random_truncation=*/false);
  d_x_ = torch::zeros_like(oracles.x().flat());
  d_y_ = torch::zeros_like(oracles.y().flat());
  last_ = Point::present(oracles);
}

void Vrbo::refresh(Oracles& oracles) {
  d_x_ = torch::zeros_like(d_x_);
  d_y_ = torch::zeros_like(d_y_);
  const double share = 1 / static_cast<double>(options_.refresh_batches);
  for (int64_t i = 0; i < options_.refresh_batches; ++i) {
    d_y_.add_(oracles.lower().gradient_in_y(oracles.lower().draw("lower_batches")), share);
    d_x_.add_(estimator_.evaluate(oracles, estimator_.draw(oracles)).value, share);
  }
  last_ = Point::present(oracles);
}

Hypergradient Vrbo::update(Oracles& oracles, const Point& old) {
  const Sample zeta = oracles.lower().draw("lower_batches");
  const EstimateSample xi = estimator_.draw(oracles);
  const Hypergradient h = estimator_.evaluate(oracles, xi);
  axpy(1, oracles.lower().gradient_in_y(zeta), d_y_);
  axpy(-1, lower_gradient_at(oracles, zeta, old), d_y_);
  axpy(1, h.value, d_x_);
  axpy(-1, hypergradient_at(oracles, estimator_, xi, old).value, d_x_);
  last_ = Point::present(oracles);
  return h;
}

StepReport Vrbo::iterate(Oracles& oracles) {
  if (k_ % options_.period == 0) refresh(oracles);
  const Point start = options_.old_point == OldPoint::iteration_start ? Point::present(oracles) : last_;
  oracles.upper().move(d_x_, -steps_.upper(k_));  // x_{k+1}
  Hypergradient h;
  for (int64_t t = 0; t < options_.lower_steps; ++t) {
    h = update(oracles, t == 0 ? start : last_);  // d_y and d_x at (x_{k+1}, y_t)
    oracles.y().add(d_y_, -steps_.lower(k_));     // y_{t+1}
  }
  return {.upper_loss = h.upper_loss, .hypergradient = d_x_, .linear_residual = h.linear.residual};
}

void Vrbo::variables(State& state) {
  state.part("estimator", estimator_);
  state.tensor("d_x", d_x_);
  state.tensor("d_y", d_y_);
  state.part("last", last_);
}

SolverEntry vrbo_entry() {
  return solver_entry<Vrbo>(
      {.summary = "SPIDER on x and y with periodic refreshes, Neumann hypergradient; double loop",
       .documented_calls = by_options<Vrbo>([](const auto& o, int64_t steps) {
         const int64_t refreshes = (steps + o.period - 1) / o.period;
         const int64_t evaluations = refreshes * o.refresh_batches + 2 * o.lower_steps * steps;
         return implicit_calls(evaluations, evaluations, evaluations * (o.neumann_terms - 1));
       }),
       .assumptions = {.sampling = Sampling::mean_square}});
}

}  // namespace bilevel
