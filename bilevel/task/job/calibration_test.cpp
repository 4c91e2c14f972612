#include "bilevel/task/job/calibration.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>

namespace bilevel {
namespace {

/// [n, 2] probabilities with log odds z.
torch::Tensor with_odds(const torch::Tensor& z) {
  return torch::stack({torch::sigmoid(-z), torch::sigmoid(z)}, 1);
}

double intercept_of(const Calibration& calibration) {
  return (calibration.bias[1] - calibration.bias[0]).item<double>();
}

TEST(Platt, FindsTheLineBehindLabels) {
  torch::manual_seed(1);
  const torch::Tensor z = torch::randn({20000}, torch::kFloat64);
  const torch::Tensor p = torch::sigmoid(1.7 * z - 2);
  const torch::Tensor labels = (torch::rand({20000}, torch::kFloat64) < p).to(torch::kInt64);
  const Calibration found = fit_platt(with_odds(z), labels);
  EXPECT_NEAR(found.beta, 1.7, 0.1);  // three standard errors
  EXPECT_NEAR(intercept_of(found), -2, 0.1);
  EXPECT_LT((found.apply(with_odds(z)).select(1, 1) - p).abs().max().item<double>(), 0.03);
}

// At the optimum the residuals against Platt's targets have no mean and no correlation with the odds.
TEST(Platt, IsTheMinimumForItsTargets) {
  const torch::Tensor z = torch::tensor({-3.0, -1.0, -0.5, 0.0, 0.7, 2.0, 4.0}, torch::kFloat64);
  const torch::Tensor labels = torch::tensor({0, 0, 1, 0, 1, 1, 1}, torch::kInt64);
  const torch::Tensor targets = labels.to(torch::kFloat64) * (5.0 / 6 - 1.0 / 5) + 1.0 / 5;
  const torch::Tensor rest = fit_platt(with_odds(z), labels).apply(with_odds(z)).select(1, 1) - targets;
  EXPECT_NEAR(rest.sum().item<double>(), 0, 1e-7);
  EXPECT_NEAR((rest * z).sum().item<double>(), 0, 1e-7);
}

TEST(Platt, StaysFiniteAndNeverTurnsTheOrder) {
  const torch::Tensor z = torch::tensor({-2.0, -1.0, 1.0, 30.0}, torch::kFloat64);
  const Calibration apart = fit_platt(with_odds(z), torch::tensor({0, 0, 1, 1}, torch::kInt64));
  const torch::Tensor p = apart.apply(with_odds(z)).select(1, 1);
  EXPECT_GT(p[0].item<double>(), 0.01);
  EXPECT_LT(p[2].item<double>(), 0.99);
  const Calibration turned = fit_platt(with_odds(z), torch::tensor({1, 1, 1, 0}, torch::kInt64));
  EXPECT_EQ(turned.beta, 1e-6);
  EXPECT_NEAR(turned.apply(with_odds(z))[0][1].item<double>(), 4.0 / 6, 1e-4);
}

TEST(Temperature, FindsTheOneBehindLabels) {
  torch::manual_seed(2);
  const torch::Tensor p = torch::softmax(2 * torch::randn({5000, 3}, torch::kFloat64), 1);
  const torch::Tensor labels = torch::multinomial(p, 1).squeeze(1);
  const torch::Tensor too_sure = torch::softmax(3 * p.log(), 1);
  EXPECT_NEAR(fit_temperature(too_sure, labels).beta, 1.0 / 3, 0.02);
  EXPECT_EQ(fit_temperature(p, labels).beta, 1) << "nothing to learn";
  EXPECT_TRUE(torch::equal(fit_temperature(p, labels).bias, torch::zeros({3}, torch::kFloat64)));
}

TEST(Temperature, StaysFiniteWhereEveryRowIsRight) {
  const torch::Tensor p =
      torch::tensor({{0.6, 0.4}, {0.3, 0.7}, {0.8, 0.2}}, torch::kFloat64).repeat({20, 1});
  const torch::Tensor labels = torch::tensor({0, 1, 0}, torch::kInt64).repeat({20});
  const double beta = fit_temperature(p, labels).beta;
  EXPECT_GT(beta, 2);
  EXPECT_LT(beta, 20);
}

}  // namespace
}  // namespace bilevel
