#include "bilevel/model/gradient_boosting.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <algorithm>
#include <vector>

#include "bilevel/core/error.h"

namespace bilevel {
namespace {

using torch::Tensor;

/// Whether two signs agree, told by columns of which neither says anything alone; a third column is noise.
BoostedRows alike(int64_t count, uint64_t seed) {
  torch::manual_seed(seed);
  const Tensor x = torch::randn({count, 3}, torch::kDouble);
  return {{x}, (x.select(1, 0) * x.select(1, 1) > 0).to(torch::kInt64)};
}

double accuracy(const Tensor& scores, const Tensor& classes) {
  const Tensor called = scores.dim() == 1 ? (scores > 0).to(torch::kInt64) : scores.argmax(1);
  return (called == classes).to(torch::kDouble).mean().item<double>();
}

class GradientBoostingTest : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string lacks = gradient_boosting_lacks(); !lacks.empty()) GTEST_SKIP() << lacks;
  }
};

TEST_F(GradientBoostingTest, FindsWhatNoLinearModelCan) {
  const BoostedRows train = alike(600, 1), test = alike(400, 2);
  const GradientBoosting fit = fit_gradient_boosting(train, 3, 2, nullptr, nullptr, {.most_rounds = 60});
  EXPECT_EQ(fit.rounds(), 60);
  const Tensor scores = fit.scores(test.inputs);
  EXPECT_EQ(scores.sizes(), (std::vector<int64_t>{400}));
  EXPECT_GT(accuracy(scores, test.classes), 0.9);
}

TEST_F(GradientBoostingTest, IsTheSameFromItsBytes) {
  const BoostedRows train = alike(200, 5), valid = alike(100, 6);
  const auto score = [&](const Tensor& scores) { return accuracy(scores, valid.classes); };
  const GradientBoosting fit = fit_gradient_boosting(train, 3, 2, &valid, score, {.patience = 5});
  const GradientBoosting read = GradientBoosting::from_bytes(fit.bytes(), 3, 2, fit.rounds());
  EXPECT_TRUE(torch::equal(read.scores(valid.inputs), fit.scores(valid.inputs)));
  EXPECT_THROW(GradientBoosting::from_bytes("no trees", 3, 2, 1), Error);
}

TEST_F(GradientBoostingTest, UsesTheRoundsThatTheValidationRowsRankBest) {
  const BoostedRows train = alike(200, 3), valid = alike(200, 4);
  std::vector<double> seen;
  const auto score = [&](const Tensor& scores) {
    seen.push_back(-torch::softplus((1 - 2 * valid.classes) * scores).mean().item<double>());
    return seen.back();
  };
  const GradientBoosting fit = fit_gradient_boosting(train, 3, 2, &valid, score, {.patience = 20});
  const auto best = std::max_element(seen.begin(), seen.end()) - seen.begin();
  EXPECT_EQ(fit.rounds(), best + 1);
  EXPECT_EQ(static_cast<int64_t>(seen.size()), fit.rounds() + 20);
  const double again =
      -torch::softplus((1 - 2 * valid.classes) * fit.scores(valid.inputs)).mean().item<double>();
  EXPECT_NEAR(again, seen[static_cast<size_t>(best)], 1e-6);
}

TEST_F(GradientBoostingTest, TellsThreeClassesApartInSparseRows) {
  torch::manual_seed(5);
  const Tensor classes = torch::arange(300).remainder(3);
  // Row i has 1 in the column of its class, and a second entry that says nothing.
  const Tensor indices = torch::stack({classes, torch::randint(3, 6, {300})}, 1).flatten();
  const BoostedRows rows{{indices, torch::ones({600}), torch::arange(0, 601, 2)}, classes};
  const GradientBoosting fit = fit_gradient_boosting(rows, 6, 3, nullptr, nullptr, {.most_rounds = 10});
  const Tensor scores = fit.scores(rows.inputs);
  EXPECT_EQ(scores.sizes(), (std::vector<int64_t>{300, 3}));
  EXPECT_EQ(accuracy(scores, classes), 1);
}

TEST_F(GradientBoostingTest, RepeatsItself) {
  const BoostedRows train = alike(300, 6);
  const auto scores = [&](uint64_t seed) {
    return fit_gradient_boosting(train, 3, 2, nullptr, nullptr, {.most_rounds = 10, .seed = seed})
        .scores(train.inputs);
  };
  EXPECT_TRUE(torch::equal(scores(1), scores(1)));
  EXPECT_FALSE(torch::equal(scores(1), scores(2)));
}

}  // namespace
}  // namespace bilevel
