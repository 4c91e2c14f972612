#include "bilevel/hypergrad/unrolled/unrolled.h"

#include "bilevel/hypergrad/estimator.h"
#include "bilevel/task/quadratic/quadratic.h"
#include "tests/problems.h"
#include "tests/support.h"

namespace bilevel {
namespace {

using torch::Tensor;

constexpr double kStep = 0.05;

/// x and y at a generic point, and the samples of a problem with dropout inside the lower loss.
struct OnRidge {
  Ridge ridge;
  Oracles oracles{ridge.problem(), 1};
  Sample upper = oracles.upper().draw("test"), lower = oracles.lower().draw("test");

  OnRidge() {
    oracles.x().assign(torch::tensor({-0.5, 0.2, 0.4}, torch::kFloat64));
    oracles.y().assign(torch::tensor({1.0, -0.7, 0.3}, torch::kFloat64));
  }
};

TEST(Unrolled, IsTheDerivativeThroughTheSteps) {
  OnRidge at;
  for (const int64_t steps : {1, 2, 7}) {
    const Tensor y = at.oracles.y().flat().clone();
    const Estimate found =
        unrolled_estimate(at.oracles, at.upper, at.lower, {.lower_step_size = kStep, .lower_steps = steps});
    EXPECT_FALSE(found.failed) << found.message;
    const Tensor expected = numerical_derivative(at.oracles.x(), [&] {
      for (int64_t k = 0; k < steps; ++k) {
        at.oracles.y().add(at.oracles.lower().gradient_in_y(at.lower), -kStep);
      }
      const Tensor value = at.oracles.upper().point(at.upper).value();
      at.oracles.y().assign(y);
      return value;
    });
    EXPECT_LT(relative_error(found.value, expected), 1e-8) << steps << " steps";
  }
}

TEST(Unrolled, LeavesXAndYAsTheyWereAndCountsWhatItSays) {
  OnRidge at;
  const Tensor x = at.oracles.x().flat().clone(), y = at.oracles.y().flat().clone();
  const Estimate found = unrolled_estimate(at.oracles, at.upper, at.lower,
                                           {.lower_step_size = kStep, .lower_steps = 9, .truncation = 4});
  EXPECT_EQ(found.cost, (OracleCounts{.lower_gradient = 9, .upper_gradient = 1, .hvp = 4, .cross_vjp = 4}));
  EXPECT_TRUE(at.oracles.x().flat().equal(x));
  EXPECT_TRUE(at.oracles.y().flat().equal(y));
}

TEST(Unrolled, TruncationKeepsTheLastSteps) {
  const Quadratic q({.seed = 3});
  Oracles oracles(q.problem(), 1);
  const Sample upper = oracles.upper().draw("test"), lower = oracles.lower().draw("test");
  const double eta = 0.6;
  const int64_t steps = 11;
  const Tensor x = oracles.x().flat().clone();
  Tensor y = oracles.y().flat().clone();
  for (int64_t k = 0; k < steps; ++k) y = y - eta * (q.A.mv(y) + q.C.t().mv(x) + q.a);
  const Tensor b = q.R.mv(y) + q.S.t().mv(x) + q.r;
  for (const int64_t truncation : {1, 3, 11, 50, 0}) {
    const int64_t backward = truncation == 0 ? steps : std::min(truncation, steps);
    // J and H are constant: h = grad_x f - C eta sum_{j < M} (I - eta A)^j b.
    Tensor sum = torch::zeros_like(b), p = b;
    for (int64_t j = 0; j < backward; ++j) {
      sum = sum + eta * p;
      p = p - eta * q.A.mv(p);
    }
    const Estimate found = unrolled_estimate(
        oracles, upper, lower, {.lower_step_size = eta, .lower_steps = steps, .truncation = truncation});
    EXPECT_LT(relative_error(found.value, q.P.mv(x) + q.S.mv(y) + q.p - q.C.mv(sum)), 1e-12) << truncation;
    EXPECT_NEAR(found.residual.item<double>(), p.norm().item<double>(), 1e-12 * b.norm().item<double>());
  }
}

TEST(Unrolled, AtTheSolutionItIsTheNeumannSum) {
  const Quadratic q({.seed = 5});
  Oracles oracles(q.problem(), 1);
  const Sample upper = oracles.upper().draw("test"), lower = oracles.lower().draw("test");
  oracles.y().assign(q.best_lower(oracles.x().flat()));
  const Estimate unrolled =
      unrolled_estimate(oracles, upper, lower, {.lower_step_size = 0.8, .lower_steps = 13});
  const Estimate sum = implicit_estimate(
      oracles, upper, lower, {.linear_solver = "neumann", .linear_step_size = 0.8, .linear_steps = 13});
  EXPECT_LT(relative_error(unrolled.value, sum.value), 1e-11);
}

TEST(Unrolled, AnAutomaticStepIsOneOverTheLargestCurvature) {
  const Quadratic q({.lower_curvature_min = 1, .lower_curvature_max = 50, .seed = 6});
  Oracles oracles(q.problem(), 1);
  const Sample upper = oracles.upper().draw("test"), lower = oracles.lower().draw("test");
  const Estimate found = unrolled_estimate(oracles, upper, lower, {.lower_steps = 5});
  const Estimate given =
      unrolled_estimate(oracles, upper, lower, {.lower_step_size = 0.02, .lower_steps = 5});
  EXPECT_LT(relative_error(found.value, given.value), 1e-9);
  EXPECT_EQ(found.cost.hvp, 5 + 4) << "Lanczos on four dimensions";
}

TEST(Unrolled, MemoryIsStatedBefore) {
  EXPECT_EQ(unrolled_memory_bytes(1000, 8, {.lower_steps = 50}), 50 * 1000 * 8);
  EXPECT_EQ(unrolled_memory_bytes(1000, 4, {.lower_steps = 50, .truncation = 7}), 7 * 1000 * 4);
  EXPECT_EQ(unrolled_memory_bytes(1000, 4, {.lower_steps = 50, .truncation = 70}), 50 * 1000 * 4);
}

TEST(Unrolled, DivergenceIsAFailureAndNoNumber) {
  const Quadratic q({.seed = 6});
  Oracles oracles(q.problem(), 1);
  const Estimate found =
      unrolled_estimate(oracles, oracles.upper().draw("test"), oracles.lower().draw("test"),
                        {.lower_step_size = 1e6, .lower_steps = 200});
  EXPECT_TRUE(found.failed);
  EXPECT_TRUE(found.value.isnan().all().item<bool>());
  EXPECT_CONTAINS(found.message, "not finite");
}

}  // namespace
}  // namespace bilevel
