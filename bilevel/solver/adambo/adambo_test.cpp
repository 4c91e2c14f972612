#include "bilevel/solver/adambo/adambo.h"

#include <gtest/gtest.h>

#include <cmath>

#include "bilevel/solver/run.h"
#include "bilevel/task/p1/p1.h"
#include "bilevel/task/quadratic/quadratic.h"

namespace bilevel {
namespace adambo_test {

/// AdamBO on P1 in plain scalar arithmetic, coordinate by coordinate, written from the paper's equations.
struct ScalarAdamBO {
  AdamBOOptions o;
  double eta_y, eta_n;
  P1 p{1};
  double lower_rate = 1;
  double x, y, m = 0, v = 0, my = 0, vy = 0;
  int t = 0, ty = 0;

  double adam(double& first, double& second, int time, double g) const {
    first = (1 - o.momentum_weight) * first + o.momentum_weight * g;
    second = (1 - o.second_moment_weight) * second + o.second_moment_weight * g * g;
    const double mh = first / (1 - std::pow(1 - o.momentum_weight, time));
    const double vh = second / (1 - std::pow(1 - o.second_moment_weight, time));
    return mh / (std::sqrt(vh) + o.epsilon);
  }
  void lower_step() {
    const double g = p.mu * (y - p.a * x);
    y -= lower_rate * eta_y * (o.lower_rule == LowerStep::adam ? adam(my, vy, ++ty, g) : g);
  }
  double hypergradient() const {
    double z = 0;
    for (int q = 0; q < o.neumann_terms; ++q) z += eta_n * std::pow(1 - eta_n * p.mu, q) * p.b * std::cos(y);
    return p.c * std::sinh(p.c * x) + p.a * p.mu * z;
  }
  void warm_start() {
    for (int k = 0; k < o.warm_start_steps; ++k) lower_step();
  }
  void step(int total) {
    const double rate = o.schedule == "cosine" ? 0.5 * (1 + std::cos(std::acos(-1.0) * t / total)) : 1;
    lower_rate = o.lower_schedule == "same" ? rate : 1;
    if (o.order == Order::gauss_seidel)
      for (int k = 0; k < o.lower_steps; ++k) lower_step();
    const double g = hypergradient();
    if (o.order == Order::simultaneous)
      for (int k = 0; k < o.lower_steps; ++k) lower_step();
    x -= o.upper_step_size * rate * adam(m, v, ++t, g);
  }
};

void expect_scalar_trajectory(AdamBOOptions options, double eta_y, double eta_n) {
  const std::vector<double> start{2.5, -1.25, 0.3, 0.0};
  constexpr int kSteps = 200;
  P1 p1(start);
  AdamBO solver(options);
  std::vector<ScalarAdamBO> scalars;
  for (const double x : start) {
    scalars.push_back({.o = options, .eta_y = eta_y, .eta_n = eta_n, .x = x, .y = 0});
    scalars.back().warm_start();
  }
  double worst = 0;
  const auto compare = [&](const MadeStep&, Oracles& oracles) {
    for (size_t i = 0; i < scalars.size(); ++i) {
      scalars[i].step(kSteps);
      worst = std::max(worst,
                       std::abs(oracles.x().flat()[static_cast<int64_t>(i)].item<double>() - scalars[i].x));
      worst = std::max(worst,
                       std::abs(oracles.y().flat()[static_cast<int64_t>(i)].item<double>() - scalars[i].y));
    }
    return true;
  };
  const Result result = run(p1.problem(), solver, {.max_steps = kSteps, .callback = compare});
  EXPECT_EQ(result.steps, kSteps);
  EXPECT_LE(worst, 1e-12);
}

TEST(AdamBO, EqualsScalarComputation) {
  expect_scalar_trajectory(
      {.upper_step_size = 0.03, .lower_step_size = 0.2, .neumann_step_size = 0.3, .neumann_terms = 4}, 0.2,
      0.3);
}

TEST(AdamBO, EqualsScalarComputationWhereEpsilonMatters) {
  expect_scalar_trajectory({.upper_step_size = 0.05,
                            .lower_step_size = 0.2,
                            .neumann_step_size = 0.3,
                            .neumann_terms = 1,
                            .warm_start_steps = 0,
                            .momentum_weight = 0.3,
                            .second_moment_weight = 0.02,
                            .epsilon = 2.0},
                           0.2, 0.3);
}

TEST(AdamBO, EqualsScalarComputationInEveryVariant) {
  for (const Order order : {Order::simultaneous, Order::gauss_seidel}) {
    for (const Samples samples : {Samples::independent, Samples::shared}) {
      for (const LowerStep rule : {LowerStep::sgd, LowerStep::adam}) {
        for (const int64_t lower_steps : {1, 3}) {
          SCOPED_TRACE(name_of(order) + " " + name_of(samples) + " " + name_of(rule) + " " +
                       std::to_string(lower_steps));
          expect_scalar_trajectory({.upper_step_size = 0.02,
                                    .lower_step_size = 0.1,
                                    .neumann_step_size = 0.5,
                                    .neumann_terms = 3,
                                    .lower_rule = rule,
                                    .lower_steps = lower_steps,
                                    .order = order,
                                    .samples = samples,
                                    .schedule = lower_steps == 1 ? "constant" : "cosine",
                                    .lower_schedule = rule == LowerStep::sgd ? "same" : "constant"},
                                   0.1, 0.5);
        }
      }
    }
  }
}

TEST(AdamBO, AutomaticStepSizesComeFromTheCurvature) {
  P1 p1;
  p1.mu = 4;
  AdamBO solver;
  const Result result = run(p1.problem(), solver, {.max_steps = 1});
  EXPECT_NEAR(result.chosen["neumann_step_size"].get<double>(), 0.25, 1e-12);
  EXPECT_NEAR(result.chosen["lower_step_size"].get<double>(), 0.125, 1e-12);
  EXPECT_GT(result.oracle_calls.automatic.hvp, 0);
  EXPECT_EQ(result.oracle_calls.warm_start.lower_gradient, 3);
  EXPECT_EQ(result.oracle_calls.steps.lower_gradient, 1);
}

// Section 4.2: the same start and the same step size, which plain gradient descent does not survive.
TEST(AdamBO, ConvergesOnP1WhereGradientDescentOverflows) {
  torch::Tensor x = torch::full({4}, 2.5, torch::kFloat64);
  const P1 known;
  for (int t = 0; t < 2000; ++t) x = x - 0.1 * known.gradient(x);
  EXPECT_FALSE(x.isfinite().all().item<bool>());

  P1 p1;
  AdamBO solver({.upper_step_size = 0.1});
  const Result result = run(p1.problem(), solver, {.max_steps = 2000});
  EXPECT_EQ(result.reason, StopReason::max_steps);
  EXPECT_LT(p1.gradient(p1.x.detach()).norm().item<double>(), 1e-6);
}

/// The largest distance over 100 steps between AdamBO's x and Adam on Phi itself, with gradients in closed
/// form.
double distance_to_adam_on_phi(int64_t exact_steps, int64_t terms) {
  const Quadratic quadratic({.lower_curvature_min = 0.5});
  AdamBO solver({.upper_step_size = 0.02,
                 .lower_step_size = 1.0,
                 .neumann_step_size = 1.0,
                 .neumann_terms = terms,
                 .warm_start_steps = exact_steps,
                 .lower_steps = exact_steps,
                 .order = Order::gauss_seidel});
  torch::Tensor x = quadratic.x.detach().clone();
  torch::Tensor m = torch::zeros_like(x), v = torch::zeros_like(x);
  double worst = 0;
  const auto compare = [&](const MadeStep& row, Oracles& oracles) {
    const torch::Tensor g = quadratic.gradient(x);
    m = 0.9 * m + 0.1 * g;
    v = 0.999 * v + 0.001 * g * g;
    const auto t = static_cast<double>(row.step);
    x = x - 0.02 * (m / (1 - std::pow(0.9, t))) / ((v / (1 - std::pow(0.999, t))).sqrt() + 1e-8);
    worst = std::max(worst, (oracles.x().flat() - x).abs().max().item<double>());
    return true;
  };
  run(quadratic.problem(), solver, {.max_steps = 100, .callback = compare});
  return worst;
}

// Section 4.5: Q -> infinity and exact y* give Adam on Phi. With curvatures in [1/2, 1] and step sizes of 1,
// both y - y* and z - z* contract by at least 1/2 a step: after 60 steps nothing but rounding is left. A step
// of Adam divides g by the root of its own second moment, so it multiplies relative rounding errors of g,
// about 1e-15, by 0.02 |m/sqrt v|, and 100 steps add up: less than 100 * 0.02 * 1e-14.
TEST(AdamBO, WithManyTermsAndExactLowerSolutionsIsAdamOnPhi) {
  EXPECT_LT(distance_to_adam_on_phi(60, 60), 2e-14 * 100);
  // The comparison can tell: what is missing shows.
  EXPECT_GT(distance_to_adam_on_phi(60, 3), 1e-4);
  EXPECT_GT(distance_to_adam_on_phi(2, 60), 1e-4);
}

// The same where y follows exactly: mu = l = 1, so one step of size 1 finds y* and one term of the series
// finds z*.
TEST(AdamBO, WhereOneStepSolvesTheLowerLevelIsAdamOnPhi) {
  P1 p1(std::vector<double>{1.5, -0.7, 0.2, 0.0});
  p1.a = 0.6;
  AdamBO solver({.upper_step_size = 0.02,
                 .lower_step_size = 1.0,
                 .neumann_step_size = 1.0,
                 .neumann_terms = 1,
                 .order = Order::gauss_seidel});
  const P1 known = p1;
  torch::Tensor x = p1.x.detach().clone();
  torch::Tensor m = torch::zeros_like(x), v = torch::zeros_like(x);
  double worst = 0;
  const auto compare = [&](const MadeStep& row, Oracles& oracles) {
    const torch::Tensor g = known.gradient(x);
    m = 0.9 * m + 0.1 * g;
    v = 0.999 * v + 0.001 * g * g;
    const auto t = static_cast<double>(row.step);
    x = x - 0.02 * (m / (1 - std::pow(0.9, t))) / ((v / (1 - std::pow(0.999, t))).sqrt() + 1e-8);
    worst = std::max(worst, (oracles.x().flat() - x).abs().max().item<double>());
    return true;
  };
  run(p1.problem(), solver, {.max_steps = 200, .callback = compare});
  EXPECT_LT(worst, 2e-12);
}

TEST(AdamBO, RefusesImpossibleOptions) {
  P1 p1;
  for (const char* assignment :
       {"upper_step_size=0", "upper_step_size=nan", "neumann_terms=0", "neumann_terms=1.5",
        "momentum_weight=0", "momentum_weight=1.1", "order=random", "lower_steps=-1", "lower_step_size=soon",
        "no_such_option=1", "epsilon"}) {
    AdamBO solver;
    EXPECT_THROW(fields_of(solver).set_text(assignment), InputError) << assignment;
  }
  AdamBO solver({.upper_step_size = -1});
  EXPECT_THROW(run(p1.problem(), solver, {}), InputError);
}

}  // namespace adambo_test
}  // namespace bilevel
