#include "bilevel/solver/ma-soba/ma-soba.h"

#include <gtest/gtest.h>

#include "bilevel/solver/soba/soba.h"
#include "tests/problems.h"
#include "tests/separable.h"
#include "tests/support.h"

namespace bilevel {
namespace ma_soba_test {

const std::vector<double> kStart{2.0, -1.0, 0.5};
constexpr int kSteps = 60;

/// MA-SOBA in plain scalar arithmetic, coordinate by coordinate, written from the paper's equations.
void scalar_step(const MASOBAOptions& o, const Separable& p, ScalarState& s, int k) {
  const double rate = scalar_course(o.schedule, 0.5, k, kSteps);
  const double theta = o.momentum_weight;
  for (size_t i = 0; i < s.size(); ++i) {
    const double x = s.x[i], z = s.z[i], h = s.m[i];
    const double y_next = s.y[i] - rate * *o.lower_step_size.value * p.gy(x, s.y[i]);
    const double y = o.order == Order::gauss_seidel ? y_next : s.y[i];
    const double h_next = (1 - theta) * h + theta * (p.fx(x, y) - p.gxy(x, y) * z);
    s.z[i] = z - rate * *o.linear_step_size.value * (p.gyy(x, y) * z - p.fy(x, y));
    s.x[i] = x - rate * o.upper_step_size * (o.average == MovingAverage::before ? h : h_next);
    s.y[i] = y_next;
    s.m[i] = h_next;
  }
}

double difference(const MASOBAOptions& options, const Separable& p, const Problem& problem) {
  ScalarState scalar(kStart);
  MASOBA solver(options);
  return worst_difference(problem, solver, scalar, kSteps,
                          [&](int k) { scalar_step(options, p, scalar, k); });
}

TEST(MASOBA, EqualsScalarComputationOnP1) {
  EXPECT_LE(difference({.upper_step_size = 0.008, .lower_step_size = 0.2, .linear_step_size = 0.3}, {},
                       P1(kStart).problem()),
            1e-10);
}

TEST(MASOBA, EqualsScalarComputationInEveryVariant) {
  const Separable p{.c = 1.5, .a = 0.7, .b = 0.8, .mu = 1.2, .q = 0.3, .e = 0.4};
  for (const MovingAverage average : {MovingAverage::before, MovingAverage::after}) {
    for (const Order order : {Order::simultaneous, Order::gauss_seidel}) {
      for (const Samples samples : {Samples::independent, Samples::shared}) {
        for (const std::string schedule : {"constant", "cosine", "paper"}) {
          SCOPED_TRACE(name_of(average) + " " + name_of(order) + " " + name_of(samples) + " " + schedule);
          const MASOBAOptions options{.upper_step_size = 0.02,
                                      .lower_step_size = 0.15,
                                      .linear_step_size = 0.1,
                                      .momentum_weight = 0.25,
                                      .average = average,
                                      .order = order,
                                      .samples = samples,
                                      .schedule = schedule};
          EXPECT_LE(difference(options, p, p.problem(kStart)), 1e-10);
        }
      }
    }
  }
}

TEST(MASOBA, MovesByTheOldAverageUnlessToldOtherwise) {
  P1 p1(kStart);
  MASOBA solver;
  run(p1.problem(), solver, {.max_steps = 1});
  EXPECT_EQ(distance(p1.x, P1(kStart).x), 0) << "h_0 = 0";
  MASOBA with_new({.upper_step_size = 0.01, .average = MovingAverage::after});
  run(p1.problem(), with_new, {.max_steps = 1});
  EXPECT_GT(distance(p1.x, P1(kStart).x), 1e-3);
}

// Section 4.5; where the samples are the same, the identity holds on random batches too.
TEST(MASOBA, WithWeightOneAndTheNewAverageIsSOBA) {
  for (const Order order : {Order::simultaneous, Order::gauss_seidel}) {
    for (const Samples samples : {Samples::shared, Samples::independent}) {
      const Ridge first, second;
      MASOBA ma_soba({.upper_step_size = 0.01,
                      .momentum_weight = 1,
                      .average = MovingAverage::after,
                      .order = order,
                      .samples = samples});
      SOBA soba({.upper_step_size = 0.01, .order = order, .samples = samples});
      const Result a = run(first.problem(), ma_soba, {.max_steps = 50, .seed = 3});
      const Result b = run(second.problem(), soba, {.max_steps = 50, .seed = 3});
      EXPECT_EQ(distance(first.x, second.x), 0) << name_of(order) << " " << name_of(samples);
      EXPECT_EQ(distance(first.y, second.y), 0);
      EXPECT_EQ(a.trace.back().linear_residual, b.trace.back().linear_residual);
      EXPECT_GT(distance(first.x, Ridge().x), 1e-3) << "they moved";
    }
  }
}

}  // namespace ma_soba_test
}  // namespace bilevel
