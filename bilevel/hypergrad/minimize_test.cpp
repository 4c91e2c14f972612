#include "bilevel/hypergrad/minimize.h"

#include <cmath>
#include <limits>

#include "bilevel/task/quadratic/quadratic.h"
#include "tests/problems.h"
#include "tests/support.h"

namespace bilevel {
namespace minimize_test {

using torch::Tensor;

Tensor vector(const std::vector<double>& values) { return torch::tensor(values, torch::kFloat64); }

ValueAndGradient from(const std::function<Tensor(const Tensor&)>& loss) {
  return [loss](const Tensor& y) {
    const Tensor variable = y.detach().clone().requires_grad_();
    const Tensor value = loss(variable);
    value.backward();
    return std::pair{value.item<double>(), variable.grad()};
  };
}

TEST(Minimize, SolvesQuadraticsToRoundOffWhateverTheCondition) {
  for (const double condition : {1.0, 1e3, 1e6}) {
    const Tensor h = torch::pow(condition, torch::linspace(-1, 0, 12, torch::kFloat64));
    const Tensor at = torch::linspace(-2, 3, 12, torch::kFloat64);
    const Minimum found = minimize(from([&](const Tensor& y) { return 0.5 * (h * (y - at).square()).sum(); }),
                                   torch::zeros_like(at));
    EXPECT_TRUE(found.converged) << found.message;
    EXPECT_LT(distance(found.y, at), 1e-15 * condition + 1e-13) << condition;
    EXPECT_LT(found.gradient_norm, 1e-14);
    EXPECT_LT(found.gradients, 400);
  }
}

TEST(Minimize, FollowsACurvedValley) {
  const Minimum found = minimize(
      from([](const Tensor& y) { return (1 - y[0]).square() + 100 * (y[1] - y[0].square()).square(); }),
      vector({-1.2, 1}));
  EXPECT_TRUE(found.converged) << found.message;
  EXPECT_LT(distance(found.y, vector({1, 1})), 1e-12);
}

TEST(Minimize, LeavesAMaximumDownhill) {
  const Minimum found = minimize(from([](const Tensor& y) { return torch::cos(y).sum(); }), vector({0.3}));
  EXPECT_TRUE(found.converged) << found.message;
  EXPECT_LT(distance(found.y, vector({M_PI})), 1e-12);
}

TEST(Minimize, ASingularMinimumIsReachedAlongItsRange) {
  // (y1 + y2 - 2)^2: the set y1 + y2 = 2; from (3, 1) the nearest point is (2, 0).
  const Minimum found =
      minimize(from([](const Tensor& y) { return (y.sum() - 2).square(); }), vector({3, 1}));
  EXPECT_TRUE(found.converged) << found.message;
  EXPECT_LT(distance(found.y, vector({2, 0})), 1e-12);
}

TEST(Minimize, AnUnboundedObjectiveIsSaid) {
  const Minimum concave =
      minimize(from([](const Tensor& y) { return -0.5 * y.square().sum(); }), vector({1, 2}));
  EXPECT_FALSE(concave.converged);
  EXPECT_CONTAINS(concave.message, "unbounded below");
}

TEST(Minimize, NaNIsNoMinimum) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Minimum found = minimize(from([&](const Tensor& y) { return (nan * y).sum(); }), vector({1}));
  EXPECT_FALSE(found.converged);
  EXPECT_CONTAINS(found.message, "not finite");
}

TEST(Minimize, TheEffortIsBounded) {
  const Tensor h = torch::pow(1e8, torch::linspace(0, 1, 100, torch::kFloat64));
  const Minimum found = minimize(from([&](const Tensor& y) { return 0.5 * (h * (y - 1).square()).sum(); }),
                                 torch::zeros_like(h), {.max_gradients = 20});
  EXPECT_FALSE(found.converged);
  EXPECT_LT(found.gradients, 70) << "20 and one line search";
  EXPECT_CONTAINS(found.message, "stopped after");
}

TEST(Minimize, Float32EndsAtItsOwnRoundOff) {
  const Tensor at = torch::linspace(-2, 3, 12, torch::kFloat32);
  const Minimum found =
      minimize(from([&](const Tensor& y) { return (y - at).square().sum() + 0.1 * (y - at).cosh().sum(); }),
               torch::zeros_like(at));
  EXPECT_TRUE(found.converged) << found.message;
  EXPECT_LT(distance(found.y, at), 1e-5);
}

TEST(SolveLower, MovesYToTheSolutionAndTrustsNoHessianThatWasSupplied) {
  const Quadratic quadratic({.lower_curvature_min = 0.01, .seed = 4});
  Problem problem = quadratic.problem();
  problem.lower_hessian = [](const Tensor& v) { return -7 * v; };
  Oracles oracles(problem, 1);
  const Tensor x = oracles.x().flat().clone();
  const Minimum found = solve_lower(oracles, oracles.lower().draw("test"));
  EXPECT_TRUE(found.converged) << found.message;
  EXPECT_LT(relative_error(oracles.y().flat(), quadratic.best_lower(x)), 1e-12);
  EXPECT_EQ(distance(oracles.x().flat(), x), 0);
  EXPECT_EQ(oracles.counts().lower_gradient, found.gradients);
  EXPECT_EQ(oracles.counts().hvp, 0);
}

TEST(SolveLower, OneSampleKeepsItsDropoutMask) {
  const Ridge ridge(0.1);  // with dropout inside the lower loss
  Oracles oracles(ridge.problem(), 1);
  const Minimum found = solve_lower(oracles, oracles.lower().draw("test"));
  EXPECT_TRUE(found.converged) << found.message << ": masks that change leave no minimum";
}

}  // namespace minimize_test
}  // namespace bilevel
