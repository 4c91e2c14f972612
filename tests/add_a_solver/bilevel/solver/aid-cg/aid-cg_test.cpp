#include "bilevel/solver/aid-cg/aid-cg.h"

#include <gtest/gtest.h>

#include "bilevel/solver/run.h"
#include "bilevel/task/quadratic/quadratic.h"

namespace bilevel {
namespace {

TEST(AidCg, IsGradientDescentOnPhiWhereBothSystemsAreSolved) {
  const Quadratic quadratic({.lower_curvature_min = 0.5});
  AidCg solver({.upper_step_size = 0.05, .lower_step_size = 1.0, .lower_steps = 50, .linear_steps = 10});
  torch::Tensor x = quadratic.x.detach().clone();
  double worst = 0;
  const auto compare = [&](const MadeStep&, Oracles& oracles) {
    x = x - 0.05 * quadratic.gradient(x);
    worst = std::max(worst, (oracles.x().flat() - x).abs().max().item<double>());
    return true;
  };
  const Result result = run(quadratic.problem(), solver, {.max_steps = 20, .callback = compare});
  EXPECT_EQ(result.steps, 20);
  EXPECT_LT(worst, 1e-9);
}

TEST(AidCg, NeedsAsManyIterationsAsTheHessianHasEigenvalues) {
  const Quadratic quadratic({.lower_size = 4});
  AidCg solver;
  EXPECT_EQ(run(quadratic.problem(), solver, {.max_steps = 5}).oracle_calls.steps.hvp, 5 * 4);
}

TEST(AidCg, StopsAtNegativeCurvature) {
  const torch::Tensor x = torch::ones({2}, torch::kFloat64).requires_grad_();
  const torch::Tensor y = torch::ones({2}, torch::kFloat64).requires_grad_();
  const torch::Tensor curvature = torch::tensor({1.0, -1.0}, torch::kFloat64);
  const Problem problem{
      .upper = {.parameters = {x},
                .loss = [&](const Batch&) { return 0.5 * (y - 3).square().sum(); },
                .batches = no_data()},
      .lower = {.parameters = {y},
                .loss = [&](const Batch&) { return (0.5 * curvature * y.square() - x * y).sum(); },
                .batches = no_data()}};
  AidCg solver({.lower_step_size = 0.1});
  const Result result = run(problem, solver, {.max_steps = 5});
  EXPECT_EQ(result.reason, StopReason::linear_solve_failed);
  EXPECT_NE(result.message.find("not positive definite"), std::string::npos) << result.message;
  EXPECT_TRUE(torch::equal(x.detach(), torch::ones({2}, torch::kFloat64)));
}

}  // namespace
}  // namespace bilevel
