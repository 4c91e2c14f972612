#include "bilevel/solver/parts/averaged_lower.h"

#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/support.h"

namespace bilevel {
namespace {

// H with eigenvalues 1/200 and 1, an optimum that moves by 5e-3 a step, gradients with noise 0.02; mean
// distances over the second half of 2000 steps.
TEST(AveragedNesterov, TracksAMovingOptimumBetterThanGradientSteps) {
  const double kappa = 200;
  const double gamma = (std::sqrt(kappa) - 1) / (std::sqrt(kappa) + 1);
  const torch::Tensor curvature = torch::tensor({1 / kappa, 1.0}, torch::kFloat64);
  const torch::Tensor drift = torch::full({2}, 5e-3 / std::sqrt(2.0), torch::kFloat64);
  const auto mean_distance = [&](double momentum, uint64_t seed) {
    at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
    Parameters y({torch::zeros({2}, torch::kFloat64).requires_grad_()}, {}, "lower");
    AveragedNesterov nesterov(y.flat(), momentum, 1);
    double sum = 0;
    for (int t = 0; t < 2000; ++t) {
      const torch::Tensor optimum = t * drift;
      nesterov.step(y, 1.0, [&] {
        return curvature * (y.flat() - optimum) + 0.02 * torch::randn({2}, generator, torch::kFloat64);
      });
      if (t >= 1000) sum += (y.flat() - optimum).norm().item<double>() / 1000;
    }
    return sum;
  };
  constexpr int kRuns = 12;
  double mean = 0, square = 0;
  for (uint64_t run = 0; run < kRuns; ++run) {
    const double gain = mean_distance(0, 100 + run) - mean_distance(gamma, 200 + run);
    mean += gain / kRuns;
    square += gain * gain / kRuns;
  }
  EXPECT_GT(mean, 4 * std::sqrt((square - mean * mean) / kRuns)) << "mean gain " << mean;
}

TEST(AveragedNesterov, WithoutMomentumIsAGradientStep) {
  Parameters y({torch::full({1}, 2.0, torch::kFloat64).requires_grad_()}, {}, "lower");
  AveragedNesterov nesterov(y.flat(), 0, 0.25);
  for (int t = 0; t < 2; ++t) nesterov.step(y, 0.5, [&] { return y.flat().clone(); });
  EXPECT_DOUBLE_EQ(y.flat().item<double>(), 0.5);
  nesterov.average(y.flat());
  EXPECT_DOUBLE_EQ(nesterov.averaged().item<double>(), 0.75 * 2 + 0.25 * 0.5);
}

TEST(AveragedLower, CountsGroups) {
  const AveragedLowerOptions two{.option = AveragedVariant::II, .period = 3, .lower_steps = 5};
  EXPECT_EQ(AveragedLower::gradients({.option = AveragedVariant::I}, 7), 7);
  EXPECT_EQ(AveragedLower::gradients(two, 0), 0);
  EXPECT_EQ(AveragedLower::gradients(two, 1), 5);
  EXPECT_EQ(AveragedLower::gradients(two, 3), 5);
  EXPECT_EQ(AveragedLower::gradients(two, 4), 10);
}

}  // namespace
}  // namespace bilevel
