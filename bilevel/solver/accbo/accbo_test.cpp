#include "bilevel/solver/accbo/accbo.h"

#include "bilevel/task/p1/p1.h"
#include "tests/noisy_p1.h"
#include "tests/problems.h"
#include "tests/support.h"

namespace bilevel {
namespace accbo_test {

constexpr int64_t kSteps = 60;

/// AccBO on NoisyP1 in plain numbers, from the paper's equations.
struct ScalarAccBO {
  AccBOOptions o;
  double eta_n = 0;
  ScalarAveragedLower lower;
  Coordinates x, y, m, old_x, old_averaged;
  int64_t t = 0;

  ScalarAccBO(const AccBOOptions& options, double eta_y, double neumann_step_size)
      : o(options),
        eta_n(neumann_step_size),
        lower{.every_iteration = options.option == AveragedVariant::I,
              .period = options.period,
              .lower_steps = options.lower_steps,
              .warm_start_steps = options.warm_start_steps,
              .gamma = options.nesterov_momentum,
              .tau = options.averaging_weight,
              .eta = eta_y} {}
  void warm_start(NoisyP1Samples& samples) { lower.warm_start(samples, x, y); }
  void step(NoisyP1Samples& samples) {
    const NoisyP1Draw xi = samples.estimate(o.neumann_terms - 1);
    const double rate = o.schedule == "cosine" ? cosine(t, kSteps) : 1;
    const Coordinates averaged = lower.averaged;
    if (t == 0) m = Coordinates(x.size());
    double norm = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double h = xi.hypergradient(x[i], averaged[i], eta_n);
      m[i] = t == 0
                 ? h
                 : h + (1 - o.momentum_weight) * (m[i] - xi.hypergradient(old_x[i], old_averaged[i], eta_n));
      norm += m[i] * m[i];
    }
    old_x = x;
    old_averaged = averaged;
    lower.step(samples, t, rate, x, y);
    for (size_t i = 0; i < x.size(); ++i) x[i] -= rate * o.upper_step_size * m[i] / std::sqrt(norm);
    ++t;
  }
};

void expect_scalar_path(AccBOOptions options) {
  for (const double noise : {0.0, 0.3}) {
    options.lower_step_size = 0.4;
    options.neumann_step_size = 0.5;
    AccBO solver(options);
    ScalarAccBO reference(options, 0.4, 0.5);
    EXPECT_LE(largest_difference(solver, reference, noise, kSteps), 1e-10) << "noise " << noise;
  }
}

TEST(AccBO, EqualsScalarComputation) {
  expect_scalar_path({.upper_step_size = 0.05, .neumann_terms = 4});
  expect_scalar_path({.upper_step_size = 0.05,
                      .neumann_terms = 1,
                      .warm_start_steps = 0,
                      .momentum_weight = 0.35,
                      .nesterov_momentum = 0.8,
                      .averaging_weight = 0.2,
                      .schedule = "cosine"});
}

TEST(AccBO, EqualsScalarComputationInOptionTwo) {
  for (const int64_t period : {1, 2, 5}) {
    for (const int64_t lower_steps : {1, 3}) {
      SCOPED_TRACE(std::to_string(period) + " " + std::to_string(lower_steps));
      expect_scalar_path({.upper_step_size = 0.04,
                          .neumann_terms = 3,
                          .momentum_weight = 0.2,
                          .option = AveragedVariant::II,
                          .period = period,
                          .lower_steps = lower_steps,
                          .averaging_weight = 0.3});
    }
  }
}

// The authors' program keeps the stored estimate in place of the second evaluation; then m_t = h_t at every
// step.
TEST(AccBO, MomentumIsNotTheCurrentHypergradient) {
  const NoisyP1 problem(0.3);
  Oracles oracles(problem.problem(), 3);
  AccBO solver({.upper_step_size = 0.02, .neumann_terms = 3});
  solver.start(oracles, 20);
  solver.warm_start(oracles);
  for (int t = 0; t < 20; ++t) {
    const torch::Tensor before = oracles.x().flat().clone();
    const StepReport report = solver.step(oracles);
    const torch::Tensor direction = (before - oracles.x().flat()) / 0.02;
    const double gap = (direction - report.hypergradient / report.hypergradient.norm()).norm().item<double>();
    if (t == 0) {
      EXPECT_LE(gap, 1e-12);
    } else {
      EXPECT_GT(gap, 1e-4) << "step " << t + 1;
    }
  }
}

TEST(AccBO, StepsHaveTheLengthOfTheStepSize) {
  const Ridge ridge;
  AccBO solver({.upper_step_size = 0.03});
  torch::Tensor before = ridge.x.detach().clone();
  run(ridge.problem(), solver, {.max_steps = 30, .callback = [&](const MadeStep& row, Oracles& oracles) {
                                  const torch::Tensor after = oracles.x().flat().clone();
                                  EXPECT_NEAR((after - before).norm().item<double>(), 0.03, 1e-6)
                                      << "step " << row.step;
                                  before = after;
                                  return true;
                                }});
}

TEST(AccBO, ARunEndsWithTheIterateNotItsAverage) {
  const NoisyP1 problem(0);
  Oracles oracles(problem.problem(), 3);
  AccBO solver({.lower_step_size = 0.4, .warm_start_steps = 1, .averaging_weight = 0.1});
  solver.start(oracles, 3);
  solver.warm_start(oracles);
  for (int t = 0; t < 3; ++t) solver.step(oracles);
  State state;
  solver.state(state);
  EXPECT_GT(distance(state.tensors().at("lower/averaged"), oracles.y().flat()), 1e-3);
}

TEST(AccBO, ADataFreeLowerHessianNeedsNoBatches) {
  const NoisyP1 noisy(0);
  Problem problem = noisy.problem();
  problem.lower_hessian = [](const torch::Tensor& v) { return NoisyP1::mu * v; };
  AccBOOptions options{
      .lower_step_size = 0.4, .neumann_step_size = 0.5, .neumann_terms = 6, .warm_start_steps = 2};
  AccBO solver(options);
  const OracleCounts calls = run(problem, solver, {.max_steps = 10}).oracle_calls.steps;
  EXPECT_EQ(calls.hvp, 19 * 5);
  EXPECT_EQ(calls.upper_samples, 10);
  EXPECT_EQ(calls.lower_samples, 20);  // one for the cross product, one for y
  const NoisyP1 other(0);
  AccBO with_batches(options);
  run(other.problem(), with_batches, {.max_steps = 10});
  EXPECT_LE(distance(noisy.x, other.x), 1e-14);
}

TEST(AccBO, CountsOfBothOptions) {
  const auto lower_gradients = [](const AccBOOptions& options) {
    const Ridge ridge;
    AccBO solver(options);
    const Result result = run(ridge.problem(), solver, {.max_steps = 7});
    const OracleCounts documented = solver_registry().at("accbo").documented_calls(solver, 7);
    EXPECT_EQ(result.oracle_calls.steps.lower_gradient, documented.lower_gradient);
    EXPECT_EQ(result.oracle_calls.steps.upper_gradient, 13);
    EXPECT_EQ(result.oracle_calls.warm_start.lower_gradient, options.warm_start_steps);
    return result.oracle_calls.steps.lower_gradient;
  };
  EXPECT_EQ(lower_gradients({.warm_start_steps = 5}), 7);
  EXPECT_EQ(lower_gradients({.option = AveragedVariant::II, .period = 3, .lower_steps = 4}), 12);
  EXPECT_EQ(lower_gradients({.option = AveragedVariant::II, .period = 7, .lower_steps = 2}), 2);
}

TEST(AccBO, AutomaticStepSizesComeFromTheCurvature) {
  P1 p1;
  p1.mu = 4;
  AccBO solver;
  const Result result = run(p1.problem(), solver, {.max_steps = 1});
  EXPECT_NEAR(result.chosen["neumann_step_size"].get<double>(), 0.25, 1e-12);
  EXPECT_NEAR(result.chosen["lower_step_size"].get<double>(), 0.125, 1e-12);
}

}  // namespace accbo_test
}  // namespace bilevel
