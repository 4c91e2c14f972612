#include "bilevel/solver/parts/neumann_estimator.h"

#include "bilevel/task/quadratic/quadratic.h"
#include "tests/problems.h"
#include "tests/support.h"

namespace bilevel {
namespace {

using torch::Tensor;

TEST(NeumannEstimator, IsTheHypergradientWhenTheSeriesIsLong) {
  const Quadratic q({.lower_curvature_min = 0.5});
  Oracles oracles(q.problem(), 1);
  NeumannEstimator estimator(1, 60, false);  // (1 - 0.5)^60 is below rounding
  const Hypergradient h = estimator.evaluate(oracles, estimator.draw(oracles));
  EXPECT_LT(distance(h.value, q.hypergradient(oracles.x().flat(), oracles.y().flat())), 1e-12);
  EXPECT_LT(distance(h.linear.z, q.linear_variable(oracles.x().flat(), oracles.y().flat())), 1e-12);
}

TEST(NeumannEstimator, ATruncatedSumIsThatOfTheSeries) {
  const Quadratic q({});
  Oracles oracles(q.problem(), 1);
  const Tensor x = oracles.x().flat(), y = oracles.y().flat();
  const Tensor b = q.R.mv(y) + q.S.t().mv(x) + q.r;
  NeumannEstimator estimator(0.4, 3, false);
  const Tensor p1 = b - 0.4 * q.A.mv(b);
  const Tensor z = 0.4 * (b + p1 + p1 - 0.4 * q.A.mv(p1));
  const Hypergradient h = estimator.evaluate(oracles, estimator.draw(oracles));
  EXPECT_LT(distance(h.linear.z, z), 1e-14);
  EXPECT_LT(distance(h.value, q.P.mv(x) + q.S.mv(y) + q.p - q.C.mv(z)), 1e-13);
}

TEST(NeumannEstimator, RandomTruncationIsOneSummandTimesTheirNumber) {
  const Quadratic q({});
  Oracles oracles(q.problem(), 1);
  const Tensor b = q.R.mv(oracles.y().flat()) + q.S.t().mv(oracles.x().flat()) + q.r;
  constexpr int64_t kTerms = 5;
  NeumannEstimator estimator(0.4, kTerms, true);
  std::vector<int64_t> counts(kTerms);
  for (int i = 0; i < 1000; ++i) {
    const EstimateSample sample = estimator.draw(oracles);
    ASSERT_GE(sample.truncation, 0);
    ASSERT_LT(sample.truncation, kTerms);
    ASSERT_EQ(static_cast<int64_t>(sample.factors.size()), sample.truncation);
    if (++counts[static_cast<size_t>(sample.truncation)] == 1) {  // each length once
      Tensor z = kTerms * 0.4 * b;
      for (int64_t j = 0; j < sample.truncation; ++j) z = z - 0.4 * q.A.mv(z);
      EXPECT_LT(distance(estimator.evaluate(oracles, sample).linear.z, z), 1e-14) << sample.truncation;
    }
  }
  // A count is binomial(1000, 1/5): standard deviation 12.6; five of them, each within 4.5.
  for (const int64_t count : counts) EXPECT_NEAR(static_cast<double>(count), 200, 4.5 * 12.7);
}

// What a two-point method needs: one sample, rows and dropout masks of every factor, at two points.
TEST(NeumannEstimator, OneSampleIsTheSameFunctionAtEveryPoint) {
  for (const bool random : {false, true}) {
    Ridge ridge(0.3);
    Oracles oracles(ridge.problem(), 3);
    NeumannEstimator estimator(0.05, 4, random);
    EstimateSample sample = estimator.draw(oracles);
    while (sample.truncation < 2) sample = estimator.draw(oracles);
    const Tensor here = estimator.evaluate(oracles, sample).value;
    const Tensor x = oracles.x().flat().clone(), y = oracles.y().flat().clone();
    Tensor there;
    {
      const PointScope elsewhere(oracles, x + 0.1, y - 0.2);
      there = estimator.evaluate(oracles, sample).value;
    }
    EXPECT_GT(distance(here, there), 1e-3);
    EXPECT_TRUE(torch::equal(estimator.evaluate(oracles, sample).value, here)) << "nothing was drawn anew";
    const EstimateSample other = estimator.draw(oracles);
    EXPECT_GT(distance(estimator.evaluate(oracles, other).value, here), 1e-6);

    // By hand at the other point, from the same samples.
    const PointScope elsewhere(oracles, x + 0.1, y - 0.2);
    LossPoint upper = oracles.upper().point(sample.upper);
    Tensor p = upper.grad_y(), sum = p;
    for (const Sample& factor : sample.factors) {
      p = p - 0.05 * oracles.lower().point(factor, Graph::lower_only).hvp(p);
      sum = sum + p;
    }
    const Tensor z = random ? 4 * 0.05 * p : 0.05 * sum;
    const Tensor expected = upper.grad_x() - oracles.lower().point(sample.cross, Graph::both).cross_vjp(z);
    EXPECT_LT(distance(there, expected), 1e-13);
  }
}

TEST(NeumannEstimator, CallsAndSamplesAreAsDocumented) {
  for (const bool hessian : {false, true}) {
    Ridge ridge;
    Problem problem = ridge.problem();
    if (hessian) problem.lower_hessian = [](const Tensor& v) { return 2 * v; };
    Oracles oracles(problem, 3);
    NeumannEstimator estimator(0.05, 4, false);
    const EstimateSample sample = estimator.draw(oracles);
    OracleCounts expected;
    expected.upper_samples = 4;
    expected.lower_samples = 5 * (hessian ? 1 : 4);
    EXPECT_EQ(oracles.ledger().steps, expected);
    estimator.evaluate(oracles, sample);
    expected.upper_gradient = expected.cross_vjp = 1;
    expected.hvp = 3;
    EXPECT_EQ(oracles.ledger().steps, expected) << "an evaluation draws nothing";
  }
}

TEST(NeumannEstimator, TheSavedScaleHolds) {
  Ridge ridge;
  Oracles oracles(ridge.problem(), 3);
  NeumannEstimator estimator(0.05, 4, true), other(0.4, 4, true);
  for (int i = 0; i < 5; ++i) estimator.draw(oracles);
  State saved;
  estimator.state(saved);
  State loading(saved.tensors());
  other.state(loading);
  const EstimateSample sample = estimator.draw(oracles);
  EXPECT_TRUE(torch::equal(other.evaluate(oracles, sample).value, estimator.evaluate(oracles, sample).value));
}

}  // namespace
}  // namespace bilevel
