#include "bilevel/task/job/calibration.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <functional>

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

/// Labels drawn where a curve of odds says; its probabilities.
struct Drawn {
  torch::Tensor odds, p, labels;
};
Drawn drawn_by(const std::function<torch::Tensor(const torch::Tensor&)>& curve, int64_t rows) {
  torch::manual_seed(3);
  const torch::Tensor z = 2 * torch::randn({rows}, torch::kFloat64), p = torch::sigmoid(curve(z));
  return {z, p, (torch::rand({rows}, torch::kFloat64) < p).to(torch::kInt64)};
}

TEST(Curve, IsPlattsLineWhereTheRowsTellNoBend) {
  const Drawn rows = drawn_by([](const torch::Tensor& z) { return 1.7 * z - 2; }, 3000);
  const Calibration found = fit_curves(with_odds(rows.odds), rows.labels),
                    platt = fit_platt(with_odds(rows.odds), rows.labels);
  ASSERT_EQ(found.curves.size(), 1U);
  EXPECT_EQ(found.curves[0].size(), 2U);
  EXPECT_TRUE(torch::allclose(found.apply(with_odds(rows.odds)), platt.apply(with_odds(rows.odds))));
}

TEST(Curve, FindsABendThatALineMisses) {
  const auto bent = [](const torch::Tensor& z) { return torch::where(z < 0, 2.5 * z, 0.4 * z); };
  const Drawn rows = drawn_by(bent, 8000);
  const torch::Tensor grid = torch::linspace(-4, 4, 81, torch::kFloat64), truth = torch::sigmoid(bent(grid));
  const auto farthest = [&](const Calibration& found) {
    return (found.apply(with_odds(grid)).select(1, 1) - truth).abs().max().item<double>();
  };
  const Calibration found = fit_curves(with_odds(rows.odds), rows.labels);
  ASSERT_EQ(found.curves.size(), 1U);
  EXPECT_GT(farthest(fit_platt(with_odds(rows.odds), rows.labels)), 0.1);
  EXPECT_LT(farthest(found), 0.05);
  const Calibration::Curve& curve = found.curves[0];
  EXPECT_GT(curve.size(), 4U);
  for (size_t i = 1; i < curve.size(); ++i) {
    EXPECT_GT(curve[i].first, curve[i - 1].first);
    EXPECT_GT(curve[i].second, curve[i - 1].second);
  }
  const Calibration again = Calibration::from_json(found.to_json());
  EXPECT_TRUE(torch::equal(again.apply(with_odds(grid)), found.apply(with_odds(grid))));
}

// A quarter of the rows has labels drawn at random: sure predictions are then too sure, unsure ones nearly right, which no temperature
// mends.
TEST(Curve, MendsSeveralClasses) {
  torch::manual_seed(4);
  const int64_t rows = 9000;
  const torch::Tensor p = torch::softmax(2 * torch::randn({rows, 3}, torch::kFloat64), 1),
                      truth = 0.75 * p + 0.25 / 3;
  const torch::Tensor labels = torch::multinomial(truth, 1).squeeze(1);
  const Calibration found = fit_curves(p, labels);
  EXPECT_EQ(found.curves.size(), 3U);
  const auto mean_error = [&](const Calibration& by) {
    return (by.apply(p) - truth).abs().mean().item<double>();
  };
  EXPECT_LT(mean_error(found), 0.02);
  EXPECT_GT(mean_error(fit_temperature(p, labels)), 1.5 * mean_error(found));
  EXPECT_TRUE(torch::allclose(found.apply(p).sum(1), torch::ones({rows}, torch::kFloat64)));
  EXPECT_TRUE(torch::equal(Calibration::from_json(found.to_json()).apply(p), found.apply(p)));
}

TEST(Curve, NeverTurnsTheOrderAndTakesTiedOdds) {
  const torch::Tensor odds = torch::tensor({0.5}, torch::kFloat64).repeat({40});
  const torch::Tensor labels =
      torch::cat({torch::ones({10}, torch::kInt64), torch::zeros({30}, torch::kInt64)});
  EXPECT_NEAR(fit_curves(with_odds(odds), labels).apply(with_odds(odds))[0][1].item<double>(), 11.0 / 42,
              0.02);
  const Drawn rows = drawn_by([](const torch::Tensor& z) { return -z; }, 500);
  const Calibration turned = fit_curves(with_odds(rows.odds), rows.labels);
  const torch::Tensor p = turned.apply(with_odds(rows.odds)).select(1, 1);
  EXPECT_LT((p - rows.labels.to(torch::kFloat64).mean()).abs().max().item<double>(), 0.01);
  EXPECT_EQ(turned.curves[0].size(), 2U);
  EXPECT_NE(turned.warning().find("do not support the order"), std::string::npos);
  const Drawn right = drawn_by([](const torch::Tensor& z) { return z; }, 500);
  EXPECT_EQ(fit_curves(with_odds(right.odds), right.labels).warning(), "");
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
