#include "bilevel/hypergrad/estimator.h"

#include <limits>

#include "bilevel/core/error.h"
#include "bilevel/task/p1/p1.h"
#include "bilevel/task/quadratic/quadratic.h"
#include "tests/parameter_name.h"
#include "tests/support.h"

namespace bilevel {
namespace {

using torch::Tensor;

/// With enough effort to be exact where the curvature lies in [0.5, 1].
std::unique_ptr<Estimator> thorough(const std::string& name) {
  std::unique_ptr<Estimator> estimator = make_estimator(name);
  const Fields fields = fields_of(*estimator);
  const nlohmann::json wishes{
      {"linear_steps", 60}, {"linear_tolerance", 1e-12}, {"lower_steps", 60}, {"multiplier", 1e7}};
  for (const Field& field : fields.list()) {
    if (wishes.contains(field.name)) field.set(wishes.at(field.name));
  }
  return estimator;
}

class EveryEstimator : public ::testing::TestWithParam<std::string> {};

TEST_P(EveryEstimator, IsTheGradientOfPhiAtTheLowerSolution) {
  const Quadratic q({.lower_curvature_min = 0.5, .seed = 12});
  Oracles oracles(q.problem(), 1);
  const Tensor x = oracles.x().flat().clone();
  const Tensor y = q.best_lower(x);
  oracles.y().assign(y);
  const Sample upper = oracles.upper().draw("test"), lower = oracles.lower().draw("test");
  const OracleCounts before = oracles.counts();
  const Estimate found = thorough(GetParam())->estimate(oracles, upper, lower);
  EXPECT_FALSE(found.failed) << found.message;
  EXPECT_LT(relative_error(found.value, q.gradient(x)), 2e-6);
  ASSERT_TRUE(found.residual.defined());
  EXPECT_LT(found.residual.item<double>(), 1e-5);
  OracleCounts sum = before;
  sum += found.cost;
  EXPECT_EQ(sum, oracles.counts()) << "the cost is what was counted";
  EXPECT_GT(found.cost.upper_gradient, 0);
  EXPECT_TRUE(oracles.x().flat().equal(x));
  EXPECT_TRUE(oracles.y().flat().equal(y));
}

TEST_P(EveryEstimator, NaNIsAFailureAndNeverAZero) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const bool in_upper : {true, false}) {
    const P1 p1(std::vector<double>{0.3, -0.2});
    Problem problem = p1.problem();
    Loss& loss = in_upper ? problem.upper.loss : problem.lower.loss;
    // The loss and its derivatives in y[1] are not numbers.
    loss = [loss, nan, y = p1.y](const Batch& b) { return loss(b) + nan * (y[1] - y[1].detach()).square(); };
    Oracles oracles(problem, 1);
    const Estimate found =
        thorough(GetParam())->estimate(oracles, oracles.upper().draw("test"), oracles.lower().draw("test"));
    EXPECT_TRUE(found.failed) << (in_upper ? "upper" : "lower");
    EXPECT_NE(found.message, "");
    EXPECT_TRUE(found.value.isnan().all().item<bool>());
    EXPECT_EQ(found.value.numel(), 2);
  }
}

TEST_P(EveryEstimator, AConcaveLowerLevelIsNeverSilent) {
  const P1 p1(std::vector<double>{0.3, -0.2});
  Problem problem = p1.problem();
  problem.lower.loss = [y = p1.y, x = p1.x](const Batch&) { return -0.5 * (y - x).square().sum(); };
  Oracles oracles(problem, 1);
  const Estimate found =
      thorough(GetParam())->estimate(oracles, oracles.upper().draw("test"), oracles.lower().draw("test"));
  if (GetParam() == "exact" || GetParam() == "cg-normal") {  // solve it all the same
    EXPECT_FALSE(found.failed);
    EXPECT_LT(found.residual.item<double>(), 1e-9);
  } else {
    EXPECT_TRUE(found.failed);
    EXPECT_NE(found.message, "");
  }
}

TEST_P(EveryEstimator, HasANameFieldsAndAMemory) {
  const std::unique_ptr<Estimator> estimator = make_estimator(GetParam());
  EXPECT_EQ(estimator->name(), GetParam());
  EXPECT_FALSE(fields_of(*estimator).list().empty());
  EXPECT_GT(estimator->memory_bytes(100, 8), 0);
  EXPECT_GT(estimator->memory_bytes(200, 8), estimator->memory_bytes(100, 8));
}

INSTANTIATE_TEST_SUITE_P(ByName, EveryEstimator, ::testing::ValuesIn(estimator_registry().names()),
                         NameOfParameter());

TEST(ImplicitEstimate, CountsOneUpperGradientOneCrossProductAndTheProducts) {
  const Quadratic q({});
  Oracles oracles(q.problem(), 1);
  const Sample upper = oracles.upper().draw("test"), lower = oracles.lower().draw("test");
  const Estimate found = implicit_estimate(
      oracles, upper, lower, {.linear_solver = "neumann", .linear_step_size = 1, .linear_steps = 8});
  EXPECT_EQ(found.cost, (OracleCounts{.upper_gradient = 1, .hvp = 7, .cross_vjp = 1}));
}

TEST(ImplicitEstimate, ThePolicyDecidesAboutAnIndefiniteSystem) {
  const P1 p1(std::vector<double>{0.3, -0.2, 0.5});
  Problem problem = p1.problem();
  const Tensor h = torch::tensor({2.0, 1.0, -0.25}, torch::kFloat64);
  problem.lower.loss = [y = p1.y, x = p1.x, h](const Batch&) { return 0.5 * (h * (y - x).square()).sum(); };
  Oracles oracles(problem, 1);
  const Sample upper = oracles.upper().draw("test"), lower = oracles.lower().draw("test");
  const auto by = [&](OnFailure policy) {
    return implicit_estimate(oracles, upper, lower, {.policy = {.on_failure = policy, .damping = 0.5}});
  };
  const Estimate error = by(OnFailure::error);
  EXPECT_TRUE(error.failed);
  EXPECT_TRUE(error.value.isnan().all().item<bool>()) << "not the half of the formula that needs no z";
  const Estimate warn = by(OnFailure::warn);
  EXPECT_FALSE(warn.failed);
  EXPECT_CONTAINS(warn.message, "warning");
  const Estimate damp = by(OnFailure::damp);
  EXPECT_FALSE(damp.failed) << damp.message;
  EXPECT_CONTAINS(damp.message, "damping");
  EXPECT_GT(damp.residual.item<double>(), 1e-3) << "of H, not of the damped system";
}

TEST(EstimatorRegistry, UnknownNamesAreRefused) {
  EXPECT_CONTAINS(message_of<InputError>([] { make_estimator("magic"); }), "value-function");
}

}  // namespace
}  // namespace bilevel
