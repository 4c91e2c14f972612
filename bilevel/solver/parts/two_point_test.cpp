#include "bilevel/solver/parts/two_point.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/problems.h"
#include "tests/support.h"

namespace bilevel {
namespace {

/// Two points of Ridge that differ in x and y.
Point point(double at) {
  return {.x = torch::tensor({at, -at, 0.1}, torch::kFloat64),
          .y = torch::tensor({0.4, at, -0.7}, torch::kFloat64)};
}

class TwoPoint : public ::testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Truncation, TwoPoint, ::testing::Bool(),
                         [](const auto& random) { return random.param ? "random" : "full"; });

TEST_P(TwoPoint, ASampleHasTheSameRowsAndMasksAtEveryPoint) {
  const Ridge ridge;
  ASSERT_GT(ridge.dropout, 0);
  Oracles oracles(ridge.problem(), 3);
  NeumannEstimator estimator(0.1, 6, GetParam());
  for (int i = 0; i < 20; ++i) {
    const EstimateSample sample = estimator.draw(oracles);
    const Sample zeta = oracles.lower().draw("lower_batches");
    const Hypergradient first = hypergradient_at(oracles, estimator, sample, point(0.3));
    const torch::Tensor g = lower_gradient_at(oracles, zeta, point(0.3));
    const Hypergradient between = hypergradient_at(oracles, estimator, sample, point(-0.2));
    const Hypergradient again = hypergradient_at(oracles, estimator, sample, point(0.3));
    EXPECT_TRUE(torch::equal(first.value, again.value));  // a difference between equal points is zero
    EXPECT_TRUE(torch::equal(first.upper_loss, again.upper_loss));
    EXPECT_TRUE(torch::equal(g, lower_gradient_at(oracles, zeta, point(0.3))));
    EXPECT_GT(distance(first.value, between.value), 1e-6);
    EXPECT_EQ(first.linear.products, between.linear.products);
  }
}

TEST_P(TwoPoint, AnotherSampleDiffers) {
  const Ridge ridge;
  Oracles oracles(ridge.problem(), 3);
  NeumannEstimator estimator(0.1, 6, GetParam());
  const EstimateSample a = estimator.draw(oracles);
  const torch::Tensor value = hypergradient_at(oracles, estimator, a, point(0.3)).value;
  const EstimateSample b = estimator.draw(oracles);
  EXPECT_GT(distance(value, hypergradient_at(oracles, estimator, b, point(0.3)).value), 1e-6);

  const Sample zeta = oracles.lower().draw("lower_batches");
  Sample masked = zeta;  // the same rows, another mask
  ++masked.model_seed;
  EXPECT_GT(
      distance(lower_gradient_at(oracles, zeta, point(0.3)), lower_gradient_at(oracles, masked, point(0.3))),
      1e-6);
}

TEST_P(TwoPoint, LeavesThePresentPointAlone) {
  const Ridge ridge(0.25);
  Oracles oracles(ridge.problem(), 3);
  NeumannEstimator estimator(0.1, 6, GetParam());
  const EstimateSample sample = estimator.draw(oracles);
  const Point here = Point::present(oracles);
  const torch::Tensor value = estimator.evaluate(oracles, sample).value;
  hypergradient_at(oracles, estimator, sample, point(0.3));
  EXPECT_TRUE(torch::equal(oracles.x().flat(), here.x));
  EXPECT_TRUE(torch::equal(oracles.y().flat(), here.y));
  EXPECT_TRUE(torch::equal(value, estimator.evaluate(oracles, sample).value));
}

// ---- recursive momentum on a path of known gradients ----

/// The gradient at time t of a path through a landscape whose gradient is the position itself.
double path(int64_t t, double drift) { return 5 * std::sin(drift / 5 * static_cast<double>(t)); }

struct Errors {
  double storm = 0, plain = 0;  ///< mean squared errors
};

/// One run of 400 steps with samples e(w; xi) = (1 + 0.3 xi_1) w + xi_2 and weight 0.05, errors over the
/// second half.
Errors errors(double drift, at::Generator& generator) {
  constexpr int64_t kSteps = 400;
  constexpr double kTheta = 0.05;
  const torch::Tensor noise = torch::randn({kSteps, 2}, generator, torch::kFloat64);
  const auto xi = noise.accessor<double, 2>();
  RecursiveMomentum momentum(torch::zeros({1}, torch::kFloat64));
  double plain = 0;
  Errors sum;
  for (int64_t t = 0; t < kSteps; ++t) {
    const auto evaluate = [&](int64_t at) { return (1 + 0.3 * xi[t][0]) * path(at, drift) + xi[t][1]; };
    const auto tensor = [](double value) { return torch::full({1}, value, torch::kFloat64); };
    momentum.update(tensor(evaluate(t)), t > 0 ? tensor(evaluate(t - 1)) : torch::Tensor(), kTheta);
    plain = t > 0 ? (1 - kTheta) * plain + kTheta * evaluate(t) : evaluate(t);
    if (t < kSteps / 2) continue;
    sum.storm += std::pow(momentum.value().item<double>() - path(t, drift), 2) / (kSteps / 2);
    sum.plain += std::pow(plain - path(t, drift), 2) / (kSteps / 2);
  }
  return sum;
}

TEST(RecursiveMomentum, BeatsPlainMomentumWhereDriftDominates) {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(4);
  constexpr int kRuns = 60;
  double mean = 0, square = 0, storm = 0;
  for (int run = 0; run < kRuns; ++run) {
    const Errors e = errors(0.2, generator);  // drift / theta = 4, against noise of 1
    mean += (e.plain - e.storm) / kRuns;
    square += std::pow(e.plain - e.storm, 2) / kRuns;
    storm += e.storm / kRuns;
  }
  const double standard_error = std::sqrt((square - mean * mean) / kRuns);
  EXPECT_GT(mean, 5 * standard_error);
  EXPECT_LT(storm, 0.25);  // a single sample has 1 + 0.09 path^2
}

TEST(RecursiveMomentum, WithoutDriftIsPlainMomentum) {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(5);
  const Errors e = errors(0, generator);
  EXPECT_NEAR(e.storm, e.plain, 1e-12);
  EXPECT_GT(e.storm, 0);
}

TEST(RecursiveMomentum, FollowsItsDefinition) {
  const auto tensor = [](double value) { return torch::full({1}, value, torch::kFloat64); };
  RecursiveMomentum momentum(tensor(7));
  momentum.update(tensor(3), {}, 0.25);
  EXPECT_DOUBLE_EQ(momentum.value().item<double>(), 3);
  momentum.update(tensor(5), tensor(2), 0.25);
  EXPECT_DOUBLE_EQ(momentum.value().item<double>(), 5 + 0.75 * (3 - 2));
  momentum.update(tensor(-1), tensor(9), 1);
  EXPECT_DOUBLE_EQ(momentum.value().item<double>(), -1);
}

// The stored previous estimate in place of the second evaluation makes the momentum the current estimate.
TEST(RecursiveMomentum, AStoredOldEstimateWouldUndoIt) {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(6);
  const torch::Tensor e = torch::randn({50, 1}, generator, torch::kFloat64);
  RecursiveMomentum momentum(e[0]);
  for (int64_t t = 0; t < 50; ++t) momentum.update(e[t], t > 0 ? e[t - 1] : torch::Tensor(), 0.1);
  EXPECT_LE(distance(momentum.value(), e[49]), 1e-12);
}

}  // namespace
}  // namespace bilevel
