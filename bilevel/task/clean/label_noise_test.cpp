#include <gtest/gtest.h>
#include <torch/types.h>

#include "bilevel/core/streams.h"
#include "bilevel/task/clean/agreement.h"
#include "bilevel/task/clean/clean_setup.h"
#include "tests/support.h"

namespace bilevel {
namespace agreement_test {

// A model that is certain and right tells every wrong label: the rate is their share.
TEST(Agreement, OfACertainModelCountsTheWrongLabels) {
  constexpr int64_t kRows = 200;
  const torch::Tensor truth = torch::arange(kRows, torch::kInt64) % 3;
  const torch::Tensor wrong = (torch::arange(kRows, torch::kInt64) % 10 < 3).to(torch::kInt64);
  const torch::Tensor given = (truth + wrong) % 3;
  const torch::Tensor certain = torch::one_hot(truth, 3).to(torch::kFloat64) * 0.999997 + 1e-6;
  const Agreement found = agreement_of(certain, given);
  EXPECT_NEAR(found.noise, 0.3, 1e-4);
  EXPECT_TRUE(torch::equal(found.right < 0.5, wrong == 1));
  EXPECT_TRUE(torch::equal(found.suggested, truth));
}

// At the fixed point e = 1 - mean(right), and right is Bayes' rule at e.
TEST(Agreement, IsTheFixedPointOfBayesRule) {
  const DefaultGeneratorScope randomness(2);
  const torch::Tensor p = torch::softmax(2 * torch::randn({500, 4}, torch::kFloat64), 1);
  const torch::Tensor given =
      torch::where(torch::rand({500}) < 0.7, p.argmax(1), torch::randint(4, {500}, torch::kInt64));
  const Agreement found = agreement_of(p, given);
  EXPECT_GT(found.noise, 0.01);
  EXPECT_LT(found.noise, 0.9);
  const torch::Tensor own = p.gather(1, given.unsqueeze(1)).squeeze(1);
  const double e = found.noise;
  const torch::Tensor right = own * (1 - e) / (own * (1 - e) + (1 - own) * e / 3);
  EXPECT_LT((found.right - right).abs().max().item<double>(), 1e-9);
  EXPECT_NEAR(1 - found.right.mean().item<double>(), e, 1e-7);
}

// Rows drawn from p^2: the exponent is 2, within the standard error of its estimate, and then nothing is left to gain.
TEST(Calibration, FindsTheExponentThatTheRowsWereDrawnWith) {
  const DefaultGeneratorScope randomness(4);
  constexpr int64_t kRows = 20000;
  const torch::Tensor p = torch::softmax(torch::randn({kRows, 4}, torch::kFloat64), 1);
  const torch::Tensor classes = torch::multinomial(calibrated(p, 2), 1).squeeze(1);
  EXPECT_NEAR(calibration_of(p, classes), 2, 0.1);  // its standard error is about 0.02
  EXPECT_NEAR(calibration_of(calibrated(p, calibration_of(p, classes)), classes), 1, 1e-3);
  EXPECT_TRUE(torch::allclose(calibrated(p, 1), p));
  EXPECT_TRUE(torch::allclose(calibrated(p, 2).sum(1), torch::ones({kRows}, torch::kFloat64)));
}

TEST(Calibration, StaysNearOneForFewRowsAndFiniteForCertainOnes) {
  const torch::Tensor p = torch::tensor({{0.6, 0.4}, {0.4, 0.6}}, torch::kFloat64);
  const double right = calibration_of(p, torch::tensor({0, 1}, torch::kInt64));
  EXPECT_GT(right, 1);
  EXPECT_LT(right, 3);
  EXPECT_LT(calibration_of(p, torch::tensor({1, 0}, torch::kInt64)), 1);
  const torch::Tensor certain = torch::tensor({{1.0, 0.0}, {0.0, 1.0}}, torch::kFloat64);
  EXPECT_NEAR(calibration_of(certain, torch::tensor({0, 1}, torch::kInt64)), 1, 1e-2);
  EXPECT_LT(calibration_of(certain, torch::tensor({1, 0}, torch::kInt64)), 0.2);
  EXPECT_THROW(calibration_of(p, torch::zeros({3}, torch::kInt64)), InputError);
}

TEST(Agreement, RefusesWhatDoesNotFit) {
  EXPECT_THROW(agreement_of(torch::ones({3, 1}), torch::zeros({3}, torch::kInt64)), InputError);
  EXPECT_THROW(agreement_of(torch::ones({3, 2}), torch::zeros({2}, torch::kInt64)), InputError);
}

TEST(Weight, IsOneForSureAndNothingForChanceAndKeepsTheOrder) {
  const torch::Tensor right = torch::linspace(0.001, 1, 1000, torch::kFloat64);
  for (const int64_t classes : {2, 6}) {
    const torch::Tensor w = weight_of(right, classes);
    EXPECT_DOUBLE_EQ(w[999].item<double>(), 1);
    EXPECT_LE(weight_of(torch::full({1}, 1.0 / static_cast<double>(classes), torch::kFloat64), classes)
                  .item<double>(),
              0.01);
    EXPECT_TRUE((w.diff() > 0).all().item<bool>());
    EXPECT_TRUE((w >= 0).all().item<bool>() && (w <= 1).all().item<bool>());
  }
  EXPECT_NEAR(weight_of(torch::full({1}, 0.6, torch::kFloat64), 2).item<double>(), 0.2, 1e-12);
}

TEST(InjectNoise, HitsTheShareAndSpreadsOverTheOtherClasses) {
  constexpr int64_t kRows = 20000, kClasses = 5;
  std::vector<int64_t> labels(kRows + 10, 3);
  const InjectedFlips flips = inject_noise(labels, kRows, kClasses, 0.4, 11);
  std::vector<double> counts(kClasses);
  for (int64_t i = 0; i < kRows; ++i) {
    ++counts[static_cast<size_t>(labels[static_cast<size_t>(i)])];
    EXPECT_EQ(flips.flipped[i].item<double>() > 0, labels[static_cast<size_t>(i)] != 3);
    EXPECT_EQ(flips.original[static_cast<size_t>(i)], 3);
  }
  const auto near = [&](double count, double share) {
    EXPECT_NEAR(count, share * kRows, 4.5 * std::sqrt(share * (1 - share) * kRows));
  };
  near(counts[3], 0.6);
  for (const size_t other : {0, 1, 2, 4}) near(counts[other], 0.1);
  for (size_t i = kRows; i < labels.size(); ++i) EXPECT_EQ(labels[i], 3);  // rows of other files

  std::vector<int64_t> again(kRows + 10, 3);
  inject_noise(again, kRows, kClasses, 0.4, 11);
  EXPECT_EQ(again, labels);
  std::vector<int64_t> other(kRows + 10, 3);
  inject_noise(other, kRows, kClasses, 0.4, 12);
  EXPECT_NE(other, labels);
}

}  // namespace agreement_test
}  // namespace bilevel
