#include "bilevel/hypergrad/finite_difference/finite_difference.h"

#include <cmath>

#include "bilevel/hypergrad/estimator.h"
#include "bilevel/task/quadratic/quadratic.h"
#include "tests/problems.h"
#include "tests/support.h"

namespace bilevel {
namespace {

using torch::Tensor;

/// A lower objective whose derivatives of every order are different from zero, float64.
struct Bent {
  Tensor x = torch::tensor({0.3, -0.4}, torch::kFloat64).requires_grad_();
  Tensor y = torch::tensor({0.7, 0.2, -0.5}, torch::kFloat64).requires_grad_();

  Problem problem() const {
    const Tensor a = torch::tensor({1.0, -1.0, 0.5, 2.0, 0.3, -0.7}, torch::kFloat64).reshape({3, 2});
    return {
        .upper = {.parameters = {x},
                  .loss = [=, *this](const Batch&) { return (y.exp() - 1).square().sum() + x.sin().sum(); },
                  .batches = no_data()},
        .lower = {.parameters = {y},
                  .loss = [=, *this](const Batch&) { return torch::cosh(y - a.mv(x)).sum() + y.exp().sum(); },
                  .batches = no_data()}};
  }
};

TEST(FiniteDifference, IsTheExactEstimateToTheSquareOfItsStep) {
  const Bent bent;
  Oracles oracles(bent.problem(), 1);
  const Sample upper = oracles.upper().draw("test"), lower = oracles.lower().draw("test");
  const Tensor exact = implicit_estimate(oracles, upper, lower, {.linear_solver = "exact"}).value;
  const auto error = [&](double step) {
    const Estimate found = finite_difference_estimate(
        oracles, upper, lower, {.difference_step = step, .linear = {.linear_tolerance = 1e-12}});
    EXPECT_FALSE(found.failed) << found.message;
    return relative_error(found.value, exact);
  };
  EXPECT_LT(error(0), 1e-9) << "the automatic step";
  // A product that is multiplied by its step, or a one-sided difference, has another order.
  EXPECT_NEAR(std::log10(error(1e-2) / error(1e-3)), 2, 0.1);
  EXPECT_LT(error(1e-3), 1e-5);
}

TEST(FiniteDifference, ProductsAreTheOnesOfAutograd) {
  const Bent bent;
  Oracles oracles(bent.problem(), 1);
  const Sample lower = oracles.lower().draw("test");
  LossPoint point = oracles.lower().point(lower, Graph::both);
  for (const double size : {1e-6, 1.0, 1e6}) {  // eps is relative to v
    const Tensor v = size * torch::tensor({1.0, -2.0, 0.4}, torch::kFloat64);
    const Tensor hvp = point.hvp(v), cross = point.cross_vjp(v);
    EXPECT_LT(relative_error(difference_hvp(oracles, lower, v), hvp), 1e-9) << size;
    EXPECT_LT(relative_error(difference_cross(oracles, lower, v), cross), 1e-9) << size;
    point = oracles.lower().point(lower, Graph::both);
  }
  const Tensor zero = torch::zeros({3}, torch::kFloat64);
  EXPECT_EQ(difference_hvp(oracles, lower, zero).count_nonzero().item<int64_t>(), 0);
  EXPECT_EQ(difference_cross(oracles, lower, zero).sizes(), oracles.x().flat().sizes());
}

TEST(FiniteDifference, BothPointsSeeTheSameDropoutMask) {
  const Ridge ridge(0.2);  // dropout 0.3 inside the lower loss
  Oracles oracles(ridge.problem(), 1);
  for (int k = 0; k < 5; ++k) {
    const Sample upper = oracles.upper().draw("test"), lower = oracles.lower().draw("test");
    const Tensor exact = implicit_estimate(oracles, upper, lower, {.linear_solver = "exact"}).value;
    const Estimate found = finite_difference_estimate(oracles, upper, lower, {});
    EXPECT_LT(relative_error(found.value, exact), 1e-7) << "masks that differ make an error of order 1 / eps";
  }
}

TEST(FiniteDifference, NeedsNoSecondDerivativeAndLeavesXAndY) {
  const Quadratic q({.seed = 7});
  Oracles oracles(q.problem(), 1);
  const Tensor x = oracles.x().flat().clone(), y = oracles.y().flat().clone();
  const Estimate found =
      finite_difference_estimate(oracles, oracles.upper().draw("test"), oracles.lower().draw("test"), {});
  EXPECT_LT(relative_error(found.value, q.hypergradient(x, y)), 1e-7);
  EXPECT_EQ(found.cost.hvp + found.cost.cross_vjp, 0);
  EXPECT_EQ(found.cost.lower_joint_gradient, 2);
  EXPECT_EQ(found.cost.lower_gradient, 2 * 4) << "conjugate gradients in four dimensions";
  EXPECT_EQ(found.cost.upper_gradient, 1);
  EXPECT_TRUE(oracles.x().flat().equal(x));
  EXPECT_TRUE(oracles.y().flat().equal(y));
}

TEST(FiniteDifference, AFailedLinearSolveIsAFailure) {
  const Tensor x = torch::ones({1}, torch::kFloat64).requires_grad_();
  const Tensor y = torch::ones({1}, torch::kFloat64).requires_grad_();
  Oracles oracles({.upper = {.parameters = {x},
                             .loss = [=](const Batch&) { return (x + y).square().sum(); },
                             .batches = no_data()},
                   .lower = {.parameters = {y},
                             .loss = [=](const Batch&) { return -(y - x).square().sum(); },
                             .batches = no_data()}},
                  1);
  const Estimate found =
      finite_difference_estimate(oracles, oracles.upper().draw("test"), oracles.lower().draw("test"), {});
  EXPECT_TRUE(found.failed);
  EXPECT_CONTAINS(found.message, "curvature -2");
  EXPECT_TRUE(found.value.isnan().all().item<bool>());
}

}  // namespace
}  // namespace bilevel
