#include "bilevel/linear/fixed_point/fixed_point.h"

#include <ATen/CPUGeneratorImpl.h>

#include <limits>

#include "bilevel/core/error.h"
#include "bilevel/linear/neumann/neumann.h"
#include "tests/support.h"

namespace bilevel {
namespace fixed_point_test {

torch::Tensor diagonal(const std::vector<double>& values) {
  return torch::diag(torch::tensor(values, torch::kFloat64));
}

LinearOperator product(const torch::Tensor& h) {
  return [h](const torch::Tensor& v) { return h.mv(v); };
}

const torch::Tensor b = torch::tensor({1.0, -2.0, 0.5}, torch::kFloat64);

TEST(FixedPoint, ConvergesToTheSolutionAtTheRateOfTheContraction) {
  const torch::Tensor h = diagonal({0.5, 1.0, 2.0});
  const LinearSolution solution =
      fixed_point(product(h), b, {.step_size = 0.5, .max_iterations = 500, .tolerance = 1e-12});
  EXPECT_FALSE(solution.failed) << solution.message;
  EXPECT_EQ(solution.message, "");
  EXPECT_LT(relative_error(solution.z, torch::tensor({2.0, -2.0, 0.25}, torch::kFloat64)), 4e-12);
  // Every iteration takes 1 - 0.5 * 0.5 off the slowest part: log(1e-12) / log(0.75) = 96.05, less its share
  // of b.
  EXPECT_GE(solution.products, 90);
  EXPECT_LE(solution.products, 97);
  EXPECT_EQ(solution.residual.item<double>(), (h.mv(solution.z) - b).norm().item<double>())
      << "of the iterate returned";
}

TEST(FixedPoint, ItsIteratesAreTheNeumannSums) {
  const torch::Tensor h = diagonal({0.3, 0.9, 1.7});
  for (const int64_t k : {1, 2, 9}) {
    const LinearSolution solution =
        fixed_point(product(h), b, {.step_size = 0.5, .max_iterations = k, .tolerance = 0});
    EXPECT_LT(distance(solution.z, neumann(product(h), b, 0.5, k).z), 1e-14) << k;
    EXPECT_EQ(solution.products, k);
    EXPECT_CONTAINS(solution.message, "stopped at a relative residual");
  }
}

TEST(FixedPoint, AWarmStartAtTheSolutionCostsOneProduct) {
  const torch::Tensor h = diagonal({0.5, 1.0, 2.0});
  const torch::Tensor z = torch::tensor({2.0, -2.0, 0.25}, torch::kFloat64);
  const LinearSolution solution = fixed_point(product(h), b, {.step_size = 0.5, .start = z});
  EXPECT_EQ(solution.products, 1);
  EXPECT_EQ(distance(solution.z, z), 0);
}

TEST(FixedPoint, AStepBeyondTwoOverLFails) {
  const torch::Tensor h = diagonal({0.5, 1.0, 2.0});
  // 1 - 0.99 * 2 = -0.98 contracts, 1 - 1.01 * 2 = -1.02 does not, though the other parts fall.
  EXPECT_FALSE(fixed_point(product(h), b, {.step_size = 0.99, .max_iterations = 5000}).failed);
  const LinearSolution solution = fixed_point(product(h), b, {.step_size = 1.01, .max_iterations = 5000});
  EXPECT_TRUE(solution.failed);
  EXPECT_CONTAINS(solution.message, "diverges");
  EXPECT_LT(solution.products, 200) << "noticed long before the end";
}

TEST(FixedPoint, NegativeCurvatureFails) {
  const LinearSolution solution =
      fixed_point(product(diagonal({0.5, 1.0, -0.1})), b, {.step_size = 1, .max_iterations = 5000});
  EXPECT_TRUE(solution.failed);
  EXPECT_CONTAINS(solution.message, "negative curvature");
}

TEST(FixedPoint, AToleranceBelowRoundOffIsNoDivergence) {
  const torch::Tensor h = diagonal({1e-2, 1.0, 1.0});
  const LinearSolution solution =
      fixed_point(product(h), b, {.step_size = 0.9, .max_iterations = 6000, .tolerance = 0});
  EXPECT_FALSE(solution.failed) << solution.message;
  EXPECT_LT(relative_error(solution.z, torch::tensor({1e2, -2.0, 0.5}, torch::kFloat64)), 1e-12);
}

TEST(FixedPoint, RoundingThatVariesBetweenCallsIsNoDivergence) {
  // Sums of several threads round differently at every call: at the floor the residual goes up and down.
  const torch::Tensor h = diagonal({0.1, 1.0, 1.0});
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(1);
  const LinearSolution solution = fixed_point(
      [&](const torch::Tensor& v) {
        return h.mv(v) * (1 + 1e-16 * torch::randn({3}, generator, torch::kFloat64)) +
               1e-16 * v * torch::randn({3}, generator, torch::kFloat64);
      },
      b, {.step_size = 0.9, .max_iterations = 3000, .tolerance = 0});
  EXPECT_FALSE(solution.failed) << solution.message;
  EXPECT_LT(solution.residual.item<double>(), 1e-14);
}

TEST(FixedPoint, NumbersThatAreNotFiniteFail) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const torch::Tensor h = diagonal({1, 1, 1});
  EXPECT_TRUE(fixed_point(product(h), b * nan, {.step_size = 1}).failed);
  EXPECT_TRUE(fixed_point(product(h * nan), b, {.step_size = 1}).failed);
}

TEST(FixedPoint, AnImpossibleStepIsRefused) {
  for (const double step : {0.0, -1.0, std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_CONTAINS(message_of<InputError>([&] {
                      fixed_point(product(diagonal({1, 1, 1})), b, {.step_size = step});
                    }),
                    "must be > 0");
  }
}

}  // namespace fixed_point_test
}  // namespace bilevel
