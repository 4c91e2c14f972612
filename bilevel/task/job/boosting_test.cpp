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

}  // namespace boosting_test
}  // namespace bilevel
