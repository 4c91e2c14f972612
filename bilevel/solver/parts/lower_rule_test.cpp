#include "bilevel/solver/parts/lower_rule.h"

#include <ATen/CPUGeneratorImpl.h>

#include <cmath>

#include "tests/support.h"

namespace bilevel {
namespace {

using torch::Tensor;

Tensor vector(std::initializer_list<double> values) {
  return torch::tensor(std::vector<double>(values), torch::kFloat64);
}

/// Variables that start at (1, -2).
struct Variable {
  Tensor leaf = vector({1.0, -2.0}).requires_grad_();
  Parameters y{{leaf}, {"y"}, "lower"};
};

// g = 1/2 (3 y_0^2 + y_1^2): the gradient is (3 y_0, y_1).
Tensor gradient_at(const Tensor& y) { return vector({3.0, 1.0}) * y; }

TEST(LowerRule, SgdTakesItsStepsAtThePresentPoint) {
  Variable v;
  LowerRule rule(LowerStep::sgd, 3, {}, v.y.flat());
  int calls = 0;
  rule.advance(v.y, 0.1, [&] {
    ++calls;
    return gradient_at(v.y.flat());
  });
  EXPECT_EQ(calls, 3);
  EXPECT_LT(distance(v.y.flat(), vector({std::pow(0.7, 3), -2 * std::pow(0.9, 3)})), 1e-15);
  rule.step(v.y, 2, vector({0.5, -0.25}));
  EXPECT_LT(distance(v.y.flat(), vector({std::pow(0.7, 3) - 1, -2 * std::pow(0.9, 3) + 0.5})), 1e-15);
}

TEST(LowerRule, AdamKeepsItsMomentsBetweenSteps) {
  const AdamWeights weights{.momentum_weight = 0.3, .second_moment_weight = 0.2, .epsilon = 0.05};
  Variable v;
  LowerRule rule(LowerStep::adam, 2, weights, v.y.flat());
  double y = 1, m = 0, s = 0;
  for (int t = 1; t <= 6; ++t) {
    m = 0.7 * m + 0.3 * 3 * y;
    s = 0.8 * s + 0.2 * 9 * y * y;
    y -= 0.1 * (m / (1 - std::pow(0.7, t))) / (std::sqrt(s / (1 - std::pow(0.8, t))) + 0.05);
    if (t % 2 != 0) continue;
    rule.advance(v.y, 0.1, [&] { return gradient_at(v.y.flat()); });
    EXPECT_NEAR(v.y.flat()[0].item<double>(), y, 1e-14) << t;
  }
}

TEST(LowerRule, ContinuesFromASavedState) {
  const AdamWeights weights{.momentum_weight = 0.3, .second_moment_weight = 0.2, .epsilon = 0.05};
  for (const LowerStep kind : {LowerStep::sgd, LowerStep::adam}) {
    Variable whole, second;
    LowerRule rule(kind, 2, weights, whole.y.flat());
    const auto advance = [](LowerRule& r, Variable& v) {
      r.advance(v.y, 0.1, [&] { return gradient_at(v.y.flat()); });
    };
    advance(rule, whole);
    State saved;
    rule.state(saved);
    second.y.assign(whole.y.flat());
    advance(rule, whole);
    LowerRule restored(kind, 2, weights, second.y.flat());
    State loading(saved.tensors());
    restored.state(loading);
    advance(restored, second);
    EXPECT_TRUE(torch::equal(second.y.flat(), whole.y.flat())) << name_of(kind);
  }
}

TEST(Adam, TheFirstStepHasTheLengthOfTheStepSize) {
  Variable v;
  Adam adam({.epsilon = 0.5}, v.y.flat());
  const Tensor g = vector({4.0, -0.25});
  adam.step(v.y, g, 0.1);
  EXPECT_LT(distance(v.y.flat(), vector({1 - 0.1 * 4 / 4.5, -2 + 0.1 * 0.25 / 0.75})), 1e-15);
}

TEST(Adam, WithWeightsOfOneOnlyTheSignIsLeft) {
  Variable v;
  Adam adam({.momentum_weight = 1, .second_moment_weight = 1, .epsilon = 1e-300}, v.y.flat());
  for (const Tensor& g : {vector({4.0, -0.25}), vector({1e-3, 7.0})}) adam.step(v.y, g, 0.1);
  EXPECT_LT(distance(v.y.flat(), vector({0.8, -2.0})), 1e-15);
}

TEST(AveragedNesterov, EqualsTheScalarRecursion) {
  constexpr double kEta = 0.1, kGamma = 0.6, kTau = 0.3;
  Variable v;
  AveragedNesterov rule(v.y.flat(), kGamma, kTau);
  EXPECT_TRUE(torch::equal(rule.averaged(), v.y.flat()));
  double y = 1, before = 1, average = 1;
  for (int t = 0; t < 30; ++t) {
    const double w = y + kGamma * (y - before);
    before = y;
    y = w - kEta * 3 * w;
    rule.step(v.y, kEta, [&] {
      EXPECT_NEAR(v.y.flat()[0].item<double>(), w, 1e-14)
          << "the gradient is asked for at the extrapolated point";
      return gradient_at(v.y.flat());
    });
    EXPECT_NEAR(rule.averaged()[0].item<double>(), average, 1e-14) << "a step does not average";
    average = (1 - kTau) * average + kTau * y;
    rule.average(v.y.flat());
    EXPECT_NEAR(v.y.flat()[0].item<double>(), y, 1e-14);
    EXPECT_NEAR(rule.averaged()[0].item<double>(), average, 1e-14);
  }
}

// Section 4.5: behind a drifting optimum the accelerated rule has the smaller mean error (H of eigenvalues
// 1/200 and 1, drift 5e-3 a step, gradient noise 0.02, gamma = (sqrt kappa - 1)/(sqrt kappa + 1)).
TEST(AveragedNesterov, TracksAMovingOptimumBetterThanSgd) {
  const Tensor curvature = vector({1.0 / 200, 1.0});
  const double root = std::sqrt(200.0);
  const auto mean_error = [&](double momentum) {
    Variable v;
    v.y.assign(vector({0.0, 0.0}));
    AveragedNesterov rule(v.y.flat(), momentum, 1);
    at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(31);
    double sum = 0;
    for (int t = 1; t <= 3000; ++t) {
      const Tensor optimum = vector({5e-3 * t, 5e-3 * t}) / std::sqrt(2.0);
      rule.step(v.y, 1, [&] {
        return curvature * (v.y.flat() - optimum) + 0.02 * torch::randn({2}, generator, torch::kFloat64);
      });
      if (t > 1000) sum += (v.y.flat() - optimum).norm().item<double>();
    }
    return sum / 2000;
  };
  // Behind a steady drift SGD lags by drift / (eta mu) in the flat coordinate; noise adds to both.
  EXPECT_NEAR(mean_error(0), 5e-3 / std::sqrt(2.0) * 200, 0.1);
  EXPECT_LT(mean_error((root - 1) / (root + 1)), 0.75 * mean_error(0));
}

TEST(AveragedNesterov, ContinuesFromASavedState) {
  Variable whole, second;
  AveragedNesterov rule(whole.y.flat(), 0.6, 0.3);
  const auto advance = [](AveragedNesterov& r, Variable& v) {
    r.step(v.y, 0.1, [&] { return gradient_at(v.y.flat()); });
    r.average(v.y.flat());
  };
  for (int t = 0; t < 3; ++t) advance(rule, whole);
  State saved;
  rule.state(saved);
  second.y.assign(whole.y.flat());
  advance(rule, whole);
  AveragedNesterov restored(vector({9.0, 9.0}), 0.6, 0.3);
  State loading(saved.tensors());
  restored.state(loading);
  advance(restored, second);
  EXPECT_TRUE(torch::equal(second.y.flat(), whole.y.flat()));
  EXPECT_TRUE(torch::equal(restored.averaged(), rule.averaged()));
}

}  // namespace
}  // namespace bilevel
