#include "bilevel/glm/proximal_fit.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include "bilevel/core/streams.h"
#include "bilevel/glm/linear_loss.h"

namespace bilevel {
namespace proximal_fit_test {

/// The mean of (w'a - t)^2 / 2 over rows, and a slight ridge that keeps the minimum one.
struct Fitted {
  LinearLoss loss;
  Batch batch;
  torch::Tensor x = torch::zeros({0}, torch::kFloat64);

  ProximalFit at(const torch::Tensor& start, const torch::Tensor& thresholds, int64_t evaluations = 2000) {
    return proximal_fit(*derivatives_of(loss)(), batch, x, start, thresholds,
                        {.evaluations = evaluations, .tolerance = 1e-12});
  }
};

Fitted squares_of(const torch::Tensor& a, const torch::Tensor& targets, double strength = 0) {
  Fitted of;
  of.loss = {.rows = DesignRows({a}, a.size(1), torch::kFloat64),
             .targets = targets,
             .loss = RowLoss::squared,
             .strength = strength};
  Rows all(static_cast<size_t>(a.size(0)));
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int64_t>(i);
  of.batch = Batch(data_set({targets}), all);
  return of;
}

// Rows of the identity, n of them: (w_i - t_i)^2 / (2 n) + l w_i^2 / 2 + c_i |w_i| is least at S(t_i, n c_i) / (1 + n l).
TEST(ProximalFit, IsSoftThresholdingWhereFeaturesAreApart) {
  const auto real = torch::kFloat64;
  const torch::Tensor t = torch::tensor({3.0, -2.0, 0.5, -0.5, 1.0}, real),
                      thresholds = torch::tensor({0.1, 0.2, 0.2, 0.05, 0.0}, real);
  Fitted of = squares_of(torch::eye(5, real), t, 0.1);
  const torch::Tensor expected = torch::tensor({2.5, -1.0, 0.0, -0.25, 1.0}, real) / 1.5;
  for (const double start : {0.0, 4.0, -1.0}) {
    const ProximalFit found = of.at(torch::full({5}, start, real), thresholds);
    EXPECT_LT((found.y - expected).abs().max().item<double>(), 1e-9) << start;
    EXPECT_EQ(found.y[2].item<double>(), 0) << start;
    EXPECT_LT(found.evaluations, 300);
  }
}

// Of features that go together: where a weight is not 0 the slope of the loss is -c sign(w), elsewhere it is between -c and c.
TEST(ProximalFit, MeetsTheConditionsOfTheMinimum) {
  const DefaultGeneratorScope randomness(6);
  constexpr int64_t kRows = 60, kWidth = 25;
  const torch::Tensor common = torch::randn({kRows, 1}, torch::kFloat64);
  const torch::Tensor a = torch::randn({kRows, kWidth}, torch::kFloat64) + 2 * common;
  const torch::Tensor t = a.narrow(1, 0, 3).sum(1) + 0.5 * torch::randn({kRows}, torch::kFloat64);
  Fitted of = squares_of(a, t, 1e-3);
  constexpr double kThreshold = 0.3;
  const torch::Tensor zero = torch::zeros({kWidth}, torch::kFloat64);
  const torch::Tensor w = of.at(zero, torch::full_like(zero, kThreshold)).y;
  const torch::Tensor slope = a.t().mv(a.mv(w) - t) / kRows + 1e-3 * w;
  const torch::Tensor in = w != 0;
  const auto left_in = in.sum().item<int64_t>();
  EXPECT_GT(left_in, 2);
  EXPECT_LT(left_in, kWidth - 2);
  EXPECT_LT((slope + kThreshold * w.sign()).masked_select(in).abs().max().item<double>(), 1e-7);
  EXPECT_LT(slope.masked_select(in.logical_not()).abs().max().item<double>(), kThreshold + 1e-7);
}

TEST(ProximalFit, EndsWhereItMay) {
  Fitted of = squares_of(torch::eye(3, torch::kFloat64), torch::ones({3}, torch::kFloat64));
  const torch::Tensor start = torch::full({3}, 50.0, torch::kFloat64);
  const ProximalFit found = of.at(start, torch::full({3}, 0.1, torch::kFloat64), 4);
  EXPECT_LE(found.evaluations, 5);
  EXPECT_TRUE(torch::equal(start, torch::full({3}, 50.0, torch::kFloat64))) << "the start stays as it is";
}

}  // namespace proximal_fit_test
}  // namespace bilevel
