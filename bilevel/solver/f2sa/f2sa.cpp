#include "bilevel/solver/f2sa/f2sa.h"

#include <fmt/format.h>

#include <cmath>

#include "bilevel/core/flat.h"
#include "bilevel/linear/lanczos/lanczos.h"

namespace bilevel {
namespace {

constexpr int64_t kProducts = 20;  // of either Lanczos iteration

/// The curvatures in y of the function with this gradient at the present y, from central differences: known to a share of
/// about unit^(2/3) of the largest.
ExtremeEigenvalues curvatures(Oracles& oracles, const std::function<torch::Tensor()>& gradient) {
  const torch::Tensor x = oracles.x().flat().clone(), y = oracles.y().flat().clone();
  const double step = std::cbrt(unit_round_off(y.scalar_type())) * (1 + y.norm().item<double>());
  const auto gradient_at = [&](const torch::Tensor& point) {
    const PointScope scope(oracles, x, point);
    return gradient();
  };
  const torch::Tensor start =
      torch::randn({y.numel()}, oracles.streams().stream("multiplier_start"), torch::kFloat64)
          .to(y.options());
  const auto product = [&](const torch::Tensor& v) {
    return (gradient_at(y + step * v) - gradient_at(y - step * v)) / (2 * step);
  };
  return lanczos(product, start, {.max_products = kProducts});
}

/// 2 l_f/mu at the present point, as the header says.
double automatic_multiplier(Oracles& oracles) {
  const auto purpose = oracles.counting(Purpose::automatic);
  const Sample xi = oracles.upper().draw("multiplier"), zeta = oracles.lower().draw("multiplier");
  const ExtremeEigenvalues f = curvatures(oracles, [&] { return oracles.upper().gradient_in_y(xi); });
  const ExtremeEigenvalues g = curvatures(oracles, [&] { return oracles.lower().gradient_in_y(zeta); });
  const double flat = 10 * std::pow(unit_round_off(oracles.y().flat().scalar_type()), 2.0 / 3) * g.largest;
  if (!(g.smallest > flat) || !std::isfinite(f.smallest)) return 1;
  return std::max(1.0, 2 * std::max(std::abs(f.smallest), std::abs(f.largest)) / g.smallest);
}

}  // namespace

void F2SAOptions::fields(Fields& f) {
  step_size_fields(f, *this);
  f.step_size("multiplier", multiplier,
              "weight of the lower objective at the first step (lambda_0); auto: 2 l_f/mu at the start, at "
              "least 1, with l_f the largest curvature of f in y and mu the smallest of g")
      .search(0.01, 10);
  f.number("multiplier_growth", multiplier_growth, kNonNegative,
           "added to the multiplier at every step; with schedule paper the multiplier grows like (k+1)^(1/7) "
           "instead")
      .search(1e-3, 1);
  f.integer("lower_steps", lower_steps, kAtLeastOne, "steps on y an iteration, and on its copy w")
      .search(1, 20);
  f.number("penalized_rate", penalized_rate, kPositive,
           "rate at which y follows a moving x, beside w's: its step is this times lower_step_size / (1 + "
           "multiplier)")
      .search(0.3, 3);
  f.choice("samples", samples,
           "whether the steps on y and on w have lower samples of their own, or share one");
  order_field(f, order);
  schedule_fields(f, *this);
}

void F2SA::begin(Oracles& oracles) {
  first_multiplier_ =
      options_.multiplier.automatic() ? automatic_multiplier(oracles) : *options_.multiplier.value;
  w_ = oracles.y().flat().clone();
}

double F2SA::multiplier() const {
  const auto k = static_cast<double>(k_);
  if (options_.schedule == "paper") return first_multiplier_ * std::pow(k + 1, 1.0 / 7);
  return first_multiplier_ + options_.multiplier_growth * k;
}

void F2SA::lower_step(Oracles& oracles, double lambda) {
  const Sample zeta = oracles.lower().draw("lower_batches");
  const Sample zeta_w =
      options_.samples == Samples::shared ? zeta : oracles.lower().draw("lower_minimizer_batches");
  {
    const PointScope at_w(oracles, oracles.x().flat(), w_);
    axpy(-steps_.lower(k_), oracles.lower().gradient_in_y(zeta_w), w_);
  }
  const torch::Tensor direction =
      copy_of(oracles.upper().gradient_in_y(oracles.upper().draw("lower_upper_batches")));
  axpy(lambda, oracles.lower().gradient_in_y(zeta), direction);
  oracles.y().add(direction, -options_.penalized_rate * steps_.lower(k_) / (1 + lambda));
}

StepReport F2SA::iterate(Oracles& oracles) {
  const double lambda = multiplier();
  const bool first = options_.order == Order::simultaneous;
  StepReport report;
  if (first) report = direction(oracles, lambda);
  for (int64_t n = 0; n < options_.lower_steps; ++n) lower_step(oracles, lambda);
  if (!first) report = direction(oracles, lambda);
  oracles.upper().move(report.hypergradient, -steps_.upper(k_));  // x_{k+1}
  return report;
}

StepReport F2SA::direction(Oracles& oracles, double lambda) {
  const JointGradient f = oracles.upper().gradient(oracles.upper().draw("upper_batches"));
  const Sample zeta = oracles.lower().draw("cross_batches");
  const torch::Tensor at_y = oracles.lower().gradient(zeta).x;
  torch::Tensor at_w;
  {
    const PointScope point(oracles, oracles.x().flat(), w_);
    at_w = oracles.lower().gradient(zeta).x;
  }
  const torch::Tensor h = copy_of(f.x);  // + lambda (at_y - at_w)
  axpy(lambda, at_y, h);
  axpy(-lambda, at_w, h);
  return {.upper_loss = f.value, .hypergradient = h, .linear_residual = {}};
}

void F2SA::variables(State& state) {
  state.tensor("w", w_);
  state.value("multiplier", first_multiplier_);
}

nlohmann::ordered_json F2SA::chosen() const {
  nlohmann::ordered_json chosen = steps_.chosen();
  chosen["multiplier"] = first_multiplier_;
  return chosen;
}

SolverEntry f2sa_entry() {
  return solver_entry<F2SA>(
      {.summary = "first derivatives only: a growing penalty and two copies of y (F2SA)",
       .documented_calls = by_options<F2SA>([](const auto& o, int64_t steps) {
         return OracleCounts{.lower_gradient = 2 * steps * o.lower_steps,
                             .lower_joint_gradient = 2 * steps,
                             .upper_gradient = steps * (o.lower_steps + 1)};
       }),
       .assumptions = {.of_options = "`multiplier` >= 2 l_f/mu"},
       .under_options =
           by_options<F2SA>([](const auto& options, const ProblemTraits& traits, Assumptions& assumptions) {
             const StepSize& given = options.multiplier;
             const double least =
                 2 * std::max(std::abs(traits.upper_curvature_min), std::abs(traits.upper_curvature_max)) /
                 traits.lower_curvature_min;
             if (given.automatic() || !(*given.value < least) || traits.convexity != Convexity::strong)
               return;
             assumptions.broken.push_back(
                 fmt::format("it needs a multiplier of at least 2 l_f/mu = {:.3g}, l_f the largest curvature "
                             "of f in y and mu the smallest of g, but multiplier = {:g}",
                             least, *given.value));
           }),
       .lower_descends_upper = true});
}

}  // namespace bilevel
