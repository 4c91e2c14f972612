#include "bilevel/hypergrad/value_function/value_function.h"

#include "bilevel/task/quadratic/quadratic.h"
#include "tests/problems.h"
#include "tests/support.h"

namespace bilevel {
namespace {

using torch::Tensor;

TEST(ValueFunction, IsTheClosedFormOfThePenalty) {
  const Quadratic q({.lower_curvature_min = 0.5, .seed = 8});
  Oracles oracles(q.problem(), 1);
  const Sample upper = oracles.upper().draw("test"), lower = oracles.lower().draw("test");
  const Tensor x = oracles.x().flat().clone(), y = oracles.y().flat().clone();
  for (const double lambda : {1.0, 30.0, 1e3}) {
    // (A + R / lambda) y_lambda = -(C'x + a) - (S'x + r) / lambda; lambda (grad_x g(y_lambda) - grad_x g(w))
    // = lambda C (y_lambda - w).
    const Tensor y_lambda =
        at::linalg_solve(q.A + q.R / lambda, -(q.C.t().mv(x) + q.a) - (q.S.t().mv(x) + q.r) / lambda);
    const Tensor expected = q.P.mv(x) + q.S.mv(y_lambda) + q.p + lambda * q.C.mv(y_lambda - q.best_lower(x));
    const Estimate found = value_function_estimate(oracles, upper, lower, {.multiplier = lambda});
    EXPECT_FALSE(found.failed) << found.message;
    EXPECT_LT(relative_error(found.value, expected), 1e-14 * lambda + 1e-11) << lambda;
    EXPECT_LT(found.residual.item<double>(), 1e-10 * lambda);
    EXPECT_EQ(found.cost.hvp + found.cost.cross_vjp, 0);
    EXPECT_EQ(found.cost.lower_joint_gradient, 2);
  }
  EXPECT_TRUE(oracles.x().flat().equal(x));
  EXPECT_TRUE(oracles.y().flat().equal(y));
}

TEST(ValueFunction, ItsBiasFallsAsOneOverLambda) {
  const Ridge ridge(0.2);
  Oracles oracles(ridge.problem(), 1);
  const Sample upper = oracles.upper().draw("test"), lower = oracles.lower().draw("test");
  // Central differences of the solved problem: nothing but values.
  const Tensor expected = numerical_derivative(oracles.x(), [&] {
    const PointScope restore(oracles, oracles.x().flat(), oracles.y().flat());
    solve_lower(oracles, lower);
    return oracles.upper().point(upper).value();
  });
  const auto error = [&](double lambda) {
    return relative_error(value_function_estimate(oracles, upper, lower, {.multiplier = lambda}).value,
                          expected);
  };
  EXPECT_LT(error(1e4), 1e-2);
  EXPECT_NEAR(error(1e3) / error(1e4), 10, 0.5);
}

TEST(ValueFunction, AMinimizationThatFailsIsAFailure) {
  const Tensor x = torch::ones({1}, torch::kFloat64).requires_grad_();
  const Tensor y = torch::ones({1}, torch::kFloat64).requires_grad_();
  const auto estimate = [&](double upper_curvature, double lower_curvature) {
    Oracles oracles(
        {.upper = {.parameters = {x},
                   .loss = [=](const Batch&) { return (upper_curvature * y.square() + x * y).sum(); },
                   .batches = no_data()},
         .lower = {.parameters = {y},
                   .loss = [=](const Batch&) { return (lower_curvature * y.square() + x * y).sum(); },
                   .batches = no_data()}},
        1);
    return value_function_estimate(oracles, oracles.upper().draw("test"), oracles.lower().draw("test"),
                                   {.multiplier = 10});
  };
  const Estimate lower = estimate(1, -1);
  EXPECT_TRUE(lower.failed);
  EXPECT_CONTAINS(lower.message, "unbounded below");
  EXPECT_TRUE(lower.value.isnan().all().item<bool>());
  const Estimate penalized = estimate(-20, 1);
  EXPECT_TRUE(penalized.failed);
  EXPECT_CONTAINS(penalized.message, "with the upper objective added");
  EXPECT_FALSE(estimate(1, 1).failed);
}

}  // namespace
}  // namespace bilevel
