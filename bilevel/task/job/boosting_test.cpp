#include "bilevel/task/job/boosting.h"

#include <gtest/gtest.h>

#include <cmath>

namespace bilevel {
namespace boosting_test {

TEST(BoostedProbabilities, AreThoseOfLogOdds) {
  const torch::Tensor two = boosted_probabilities(torch::tensor({0.0, std::log(3.0)}, torch::kFloat64));
  EXPECT_TRUE(torch::allclose(two, torch::tensor({{0.5, 0.5}, {0.25, 0.75}}, torch::kFloat64)));
  const torch::Tensor three =
      boosted_probabilities(torch::tensor({{7.0, 7.0, 7 + std::log(2.0)}}, torch::kFloat64));
  EXPECT_TRUE(torch::allclose(three, torch::tensor({{0.25, 0.25, 0.5}}, torch::kFloat64)));
}

TEST(BoostedProbabilities, FitByTheMeanLogLoss) {
  const torch::Tensor scores = torch::tensor({0.0, std::log(3.0)}, torch::kFloat64);
  EXPECT_NEAR(boosted_fit(scores, torch::tensor({1, 1}, torch::kInt64)), (std::log(0.5) + std::log(0.75)) / 2,
              1e-12);
}

TEST(AffordableBoosting, IsThatOfSmallTablesAsItWas) {
  const auto of = [](int64_t rows, int64_t width, int64_t classes) {
    return affordable_boosting(
        {Inputs::dense(torch::zeros({rows, width})), {.kind = InputKind::dense, .width = width}}, rows,
        classes);
  };
  const GradientBoostingOptions table = of(20000, 20, 2), images = of(2000, 784, 10),
                                halved = of(1000, 2500, 2);
  EXPECT_EQ(table.most_rounds, 1000);
  EXPECT_EQ(table.step_size, 0.1);
  EXPECT_EQ(images.step_size, 0.3);
  EXPECT_GE(images.most_rounds, 50);
  EXPECT_LT(images.most_rounds, 200);
  // Rounds times step size stay, as far as the step size may rise.
  EXPECT_NEAR(static_cast<double>(halved.most_rounds) * halved.step_size, 100, 0.2);
}

}  // namespace boosting_test
}  // namespace bilevel
