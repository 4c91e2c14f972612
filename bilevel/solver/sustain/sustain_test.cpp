#include "bilevel/solver/sustain/sustain.h"

#include "tests/noisy_p1.h"
#include "tests/problems.h"
#include "tests/support.h"

namespace bilevel {
namespace sustain_test {

constexpr int64_t kSteps = 60;

void expect_scalar_path(const SustainOptions& options) {
  for (const double noise : {0.0, 0.3}) {
    Sustain solver(options);
    ScalarStorm reference{.random = true,
                          .summands = options.neumann_terms,
                          .eta_x = options.upper_step_size,
                          .eta_y = *options.lower_step_size.value,
                          .eta_n = *options.neumann_step_size.value,
                          .theta_x = options.momentum_weight,
                          .theta_y = options.lower_momentum_weight,
                          .paper_x = options.schedule == "paper",
                          .paper_y = options.lower_schedule == "paper" ||
                                     (options.lower_schedule == "same" && options.schedule == "paper")};
    EXPECT_LE(largest_difference(solver, reference, noise, kSteps), 1e-10) << "noise " << noise;
  }
}

TEST(Sustain, EqualsScalarComputation) {
  for (const int64_t terms : {1, 2, 5}) {
    SCOPED_TRACE(terms);
    expect_scalar_path({.upper_step_size = 0.02,
                        .lower_step_size = 0.3,
                        .neumann_step_size = 0.4,
                        .neumann_terms = terms,
                        .momentum_weight = 0.2,
                        .lower_momentum_weight = 0.5});
  }
}

TEST(Sustain, EqualsScalarComputationUnderThePapersSchedule) {
  for (const auto& [schedule, lower] :
       {std::pair{"paper", "same"}, {"paper", "constant"}, {"constant", "paper"}}) {
    SCOPED_TRACE(std::string(schedule) + " " + lower);
    expect_scalar_path({.upper_step_size = 0.03,
                        .lower_step_size = 0.5,
                        .neumann_step_size = 0.5,
                        .neumann_terms = 3,
                        .momentum_weight = 0.6,
                        .lower_momentum_weight = 0.9,
                        .schedule = schedule,
                        .lower_schedule = lower});
  }
}

TEST(Sustain, WithBothWeightsOneIsPlainGradientDescentOnBothLevels) {
  const Ridge ridge, other;
  Sustain solver({.upper_step_size = 0.05,
                  .lower_step_size = 0.1,
                  .neumann_step_size = 0.1,
                  .neumann_terms = 4,
                  .momentum_weight = 1,
                  .lower_momentum_weight = 1});
  run(ridge.problem(), solver, {.max_steps = 50, .seed = 9});

  Oracles oracles(other.problem(), 9);
  NeumannEstimator estimator(0.1, 4, /*random_truncation=*/true);
  for (int t = 0; t < 50; ++t) {
    const torch::Tensor h = estimator.evaluate(oracles, estimator.draw(oracles)).value;
    const torch::Tensor g = oracles.lower().gradient_in_y(oracles.lower().draw("lower_batches"));
    oracles.x().add(h, -0.05);
    oracles.y().add(g, -0.1);
  }
  EXPECT_LE(distance(ridge.x, other.x), 1e-12);
  EXPECT_LE(distance(ridge.y, other.y), 1e-12);
  EXPECT_GT(ridge.x.detach().norm().item<double>(), 0.1);
}

}  // namespace sustain_test
}  // namespace bilevel
