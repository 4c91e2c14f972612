#include "bilevel/solver/sl-bamm/sl-bamm.h"

#include <fmt/format.h>

#include "bilevel/core/flat.h"

namespace bilevel {

void SLBAMMOptions::fields(Fields& f) {
  step_size_fields(f, *this);
  f.number("aggregation_weight", aggregation_weight, {.low = 0, .high = 1, .high_open = true},
           "weight of the upper objective in the aggregated lower one (mu); 0: no aggregation, for a "
           "strongly convex lower objective")
      .search(0.1, 0.9);
  order_field(f, order);
  schedule_fields(f, *this);
  f.course("aggregation_schedule", aggregation_schedule, {"constant", "polynomial", "cosine", "paper"},
           "course of aggregation_weight");
}

StepSizeOptions SLBAMM::step_sizes() const {
  const bool aggregates = options_.aggregation_weight > 0;
  const double tau = aggregates ? 1.0 / 40 : 1.0 / 1000;
  return step_size_options(options_, {.upper = aggregates ? 1.5 * tau : tau, .linear = 0.5 * tau});
}

void SLBAMM::begin(Oracles& oracles) {
  aggregation_course_ = Course(options_.aggregation_schedule, 0.1);
  total_steps_ = steps_.steps();
  z_ = torch::zeros_like(oracles.y().flat());
}

StepReport SLBAMM::iterate(Oracles& oracles) {
  const bool aggregates = options_.aggregation_weight > 0;
  const bool gauss_seidel = options_.order == Order::gauss_seidel;
  const double mu = options_.aggregation_weight * aggregation_course_.at(k_, total_steps_);
  const double share = aggregates && options_.schedule == "paper" ? mu * mu * mu : 1;
  const double alpha = steps_.upper(k_) * share, beta = steps_.lower(k_), eta = steps_.linear(k_);
  const Sample xi = oracles.upper().draw("upper_batches");
  const Sample zeta = oracles.lower().draw("lower_batches");

  if (gauss_seidel) {  // y_{k+1}
    torch::Tensor gradient = (1 - mu) * oracles.lower().gradient_in_y(zeta);
    if (aggregates) gradient = gradient + mu * oracles.upper().point(xi).grad_y();
    oracles.y().add(gradient, -beta);
  }
  torch::Tensor upper_loss, gradient;  // grad_y phi_mu(x_k, y_k)
  LinearStep at;                       // the directions of x and z, from z_k
  {
    auto [upper, lower] = oracles.points(xi, zeta);
    upper_loss = upper.value();
    at = aggregates ? oracles.aggregated_step(upper, lower, z_, mu)
                    : oracles.hypergradient_and_residual(upper, lower, z_);
    if (!gauss_seidel) {
      gradient = aggregates ? mu * upper.grad_y() + (1 - mu) * lower.grad_y() : lower.grad_y();
    }
  }
  if (!gauss_seidel) oracles.y().add(gradient, -beta);  // y_{k+1}
  axpy(-eta, at.residual, z_);                          // z_{k+1}
  oracles.upper().move(at.hypergradient, -alpha);       // x_{k+1}, projected
  return {
      .upper_loss = upper_loss, .hypergradient = at.hypergradient, .linear_residual = flat_norm(at.residual)};
}

void SLBAMM::variables(State& state) {
  state.value("total_steps", total_steps_);
  state.tensor("z", z_);
}

SolverEntry sl_bamm_entry() {
  return solver_entry<SLBAMM>(
      {.summary = "SGD on x, y and the linear system of a lower objective aggregated with the upper one; one "
                  "loop, for lower levels that are merely convex",
       .documented_calls = by_options<SLBAMM>([](const auto& options, int64_t steps) {
         OracleCounts calls = implicit_calls(steps, steps, steps);
         if (options.aggregation_weight > 0) {
           calls.upper_hvp = calls.upper_cross_vjp = steps;
           if (options.order == Order::gauss_seidel) calls.upper_gradient += steps;
         }
         return calls;
       }),
       .assumptions = {.convexity = Convexity::mere,
                       .noise = Noise::none,
                       .of_options =
                           "g strongly convex if `aggregation_weight = 0`, else f so in y where g is flat"},
       .under_options =
           by_options<SLBAMM>([](const auto& options, const ProblemTraits& traits, Assumptions& assumptions) {
             const double mu = options.aggregation_weight;
             if (mu == 0) {
               assumptions.convexity = Convexity::strong;
             } else if (mu * traits.upper_curvature_min + (1 - mu) * traits.lower_curvature_min <= 0) {
               assumptions.broken.push_back(
                   fmt::format("with aggregation_weight = {:g} y minimizes {:g} f + {:g} g, which is not "
                               "strongly convex in y: f bends down by {:g}",
                               mu, mu, 1 - mu, -traits.upper_curvature_min));
             }
           }),
       .strongly_convex_options = {{"aggregation_weight", 0}},
       .lower_descends_upper = true});
}

}  // namespace bilevel
