#include "bilevel/solver/soba/soba.h"

#include <gtest/gtest.h>

#include "bilevel/task/quadratic/quadratic.h"
#include "tests/separable.h"
#include "tests/support.h"

namespace bilevel {
namespace soba_test {

const std::vector<double> kStart{2.0, -1.0, 0.5};
constexpr int kSteps = 60;

/// SOBA in plain scalar arithmetic, coordinate by coordinate, written from the paper's equations with z = -v.
void scalar_step(const SOBAOptions& o, const Separable& p, ScalarState& s, int k) {
  const double rate = scalar_course(o.schedule == "paper" ? "polynomial" : o.schedule, 0.5, k, kSteps);
  const double rate_y = o.lower_schedule == "constant" ? 1 : rate;
  const double rate_z = o.linear_schedule == "constant" ? 1 : rate;
  for (size_t i = 0; i < s.size(); ++i) {
    const double x = s.x[i], z = s.z[i];
    const double y_next = s.y[i] - rate_y * *o.lower_step_size.value * p.gy(x, s.y[i]);
    const double y = o.order == Order::gauss_seidel ? y_next : s.y[i];
    s.z[i] = z - rate_z * *o.linear_step_size.value * (p.gyy(x, y) * z - p.fy(x, y));
    s.x[i] = x - rate * o.upper_step_size * (p.fx(x, y) - p.gxy(x, y) * z);
    s.y[i] = y_next;
  }
}

double difference(const SOBAOptions& options, const Separable& p, const Problem& problem) {
  ScalarState scalar(kStart);
  SOBA solver(options);
  return worst_difference(problem, solver, scalar, kSteps,
                          [&](int k) { scalar_step(options, p, scalar, k); });
}

TEST(SOBA, EqualsScalarComputationOnP1) {
  EXPECT_LE(difference({.upper_step_size = 0.008, .lower_step_size = 0.2, .linear_step_size = 0.3}, {},
                       P1(kStart).problem()),
            1e-10);
}

TEST(SOBA, EqualsScalarComputationInEveryVariant) {
  const Separable p{.c = 1.5, .a = 0.7, .b = 0.8, .mu = 1.2, .q = 0.3, .e = 0.4};
  for (const Order order : {Order::simultaneous, Order::gauss_seidel}) {
    for (const Samples samples : {Samples::independent, Samples::shared}) {
      for (const std::string schedule : {"constant", "paper", "cosine"}) {
        SCOPED_TRACE(name_of(order) + " " + name_of(samples) + " " + schedule);
        const SOBAOptions options{.upper_step_size = 0.02,
                                  .lower_step_size = 0.15,
                                  .linear_step_size = 0.1,
                                  .order = order,
                                  .samples = samples,
                                  .schedule = schedule,
                                  .lower_schedule = schedule == "cosine" ? "constant" : "same",
                                  .linear_schedule = schedule == "cosine" ? "constant" : "same"};
        EXPECT_LE(difference(options, p, p.problem(kStart)), 1e-10);
      }
    }
  }
}

// Section 4.5: constant step sizes and exact oracles leave nothing but round-off.
TEST(SOBA, ReachesTheSolutionOfAQuadraticToRoundOff) {
  const Quadratic quadratic({.lower_curvature_min = 0.5});
  SOBA solver({.upper_step_size = 0.1});
  EXPECT_EQ(run(quadratic.problem(), solver, {.max_steps = 1200}).reason, StopReason::max_steps);
  EXPECT_LT(quadratic.gradient(quadratic.x.detach()).square().sum().item<double>(), 1e-24);
}

TEST(SOBA, EvaluatesEitherLossOnceAStep) {
  P1 p1(kStart);
  Problem problem = p1.problem();
  int upper = 0, lower = 0;
  problem.upper.loss = [&upper, loss = problem.upper.loss](const Batch& b) { return ++upper, loss(b); };
  problem.lower.loss = [&lower, loss = problem.lower.loss](const Batch& b) { return ++lower, loss(b); };
  SOBA solver({.upper_step_size = 0.001, .lower_step_size = 0.2, .linear_step_size = 0.2});
  run(problem, solver, {.max_steps = 10});
  EXPECT_EQ(upper, 13) << "ten steps, the probe, and the objective at the start and the end";
  EXPECT_EQ(lower, 13);
}

}  // namespace soba_test
}  // namespace bilevel
