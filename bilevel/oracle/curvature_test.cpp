#include "bilevel/oracle/curvature.h"

#include <cmath>
#include <limits>

#include "bilevel/core/error.h"
#include "bilevel/task/quadratic/quadratic.h"
#include "tests/support.h"

namespace bilevel {
namespace curvature_test {

/// g = 1/2 y'Hy in which every row of the data is an H of its own (a diagonal); f = 1/2 ||x - y||^2.
struct Diagonal {
  torch::Tensor x = torch::zeros({3}, torch::kFloat64).requires_grad_();
  torch::Tensor y = torch::ones({3}, torch::kFloat64).requires_grad_();

  Problem problem(const torch::Tensor& diagonals, int64_t batch_size) const {
    return {
        .upper = {.parameters = {x},
                  .loss = [x = x, y = y](const Batch&) { return 0.5 * (x - y).square().sum(); },
                  .batches = no_data()},
        .lower = {.parameters = {y},
                  .loss = [y = y](const Batch& b) { return 0.5 * (b.input() * y.square()).sum() / b.size(); },
                  .batches = shuffled({diagonals}, {.batch_size = batch_size})}};
  }
};

torch::Tensor rows(std::vector<double> numbers) {
  return torch::tensor(numbers, torch::kFloat64).reshape({-1, 3});
}

TEST(LargestCurvature, FindsTheLargestEigenvalue) {
  for (const double low : {0.001, 0.5, 3.0}) {
    const Quadratic quadratic({.lower_size = 20, .lower_curvature_min = low, .lower_curvature_max = 3});
    Oracles oracles(quadratic.problem(), 1);
    const Curvature found = largest_curvature(oracles);
    // A Rayleigh quotient never exceeds the largest eigenvalue; it stops when it changes by less than 0.1 %.
    EXPECT_LE(found.largest, 3 * (1 + 1e-12));
    EXPECT_GT(found.largest, 3 * 0.95);
    EXPECT_EQ(oracles.ledger().automatic.hvp, found.products);
    EXPECT_LE(found.products, 50) << "one sample is enough for a deterministic problem";
    EXPECT_EQ(oracles.ledger().steps, OracleCounts{});
    EXPECT_NEAR(automatic_step_size(found, "s"), 1 / found.largest, 1e-15);
  }
}

TEST(LargestCurvature, AnIdentityNeedsTwoProducts) {
  const Quadratic quadratic({.lower_curvature_min = 2, .lower_curvature_max = 2});
  Oracles oracles(quadratic.problem(), 1);
  const Curvature found = largest_curvature(oracles);
  EXPECT_NEAR(found.largest, 2, 1e-13);
  EXPECT_EQ(found.products, 2);
}

TEST(LargestCurvature, TakesTheLargestOfThreeSamples) {
  const Diagonal diagonal;
  // Batches of one row each: the three draws of a permutation are the three rows.
  Oracles oracles(diagonal.problem(rows({1, 2, 1, 1, 1, 7, 3, 1, 1}), 1), 1);
  const Curvature found = largest_curvature(oracles);
  EXPECT_NEAR(found.largest, 7, 0.1);
  EXPECT_EQ(oracles.ledger().automatic.lower_samples, 3);
}

TEST(LargestCurvature, AProblemsOwnHessianNeedsNoBatch) {
  const Diagonal diagonal;
  Problem problem = diagonal.problem(rows({1, 1, 1, 1, 1, 1}), 1);
  problem.lower_hessian = [](const torch::Tensor& v) { return 5 * v; };
  Oracles oracles(problem, 1);
  EXPECT_NEAR(largest_curvature(oracles).largest, 5, 1e-13);
  EXPECT_EQ(oracles.ledger().automatic.lower_samples, 0);
}

TEST(LargestCurvature, CurvaturesWithoutAStepSizeAreRefused) {
  const Diagonal diagonal;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto curvature = [&](const torch::Tensor& diagonals) {
    Oracles oracles(diagonal.problem(diagonals, 1), 1);
    return largest_curvature(oracles);
  };
  EXPECT_NEAR(curvature(rows({1, -4, 1})).largest, -4, 0.1) << "the sign is kept";
  EXPECT_EQ(curvature(rows({0, 0, 0})).largest, 0);
  EXPECT_TRUE(std::isnan(curvature(rows({1, 1, 1, 1, 1, nan, 1, 1, 1})).largest))
      << "in whichever sample it stands";
  for (const double largest : {-4.0, 0.0, nan, HUGE_VAL}) {
    EXPECT_CONTAINS(
        message_of<InputError>([&] { automatic_step_size({.largest = largest}, "lower_step_size"); }),
        "lower_step_size = auto");
  }
}

}  // namespace curvature_test
}  // namespace bilevel
