#include "bilevel/task/clean/label_noise.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "bilevel/core/streams.h"
#include "bilevel/task/clean/clean_setup.h"
#include "bilevel/task/clean/noise_likelihood.h"
#include "tests/support.h"

namespace bilevel {
namespace label_noise_test {

/// Rows of `shares` with predictions of known quality: a classifier's log probabilities are those of the truth, times
/// 1/beta, so that `beta` mends them.
struct Drawn {
  LabelledPredictions train, trusted;
  torch::Tensor truth;
  double share = 0;  // of wrong labels
};

LabelledPredictions draw_predictions(const torch::Tensor& truth, const torch::Tensor& shares, double beta,
                                     double separation) {
  const int64_t classes = shares.numel();
  const torch::Tensor means = separation * torch::eye(classes, torch::kFloat64);
  const torch::Tensor x =
      means.index_select(0, truth) + torch::randn({truth.numel(), classes}, torch::kFloat64);
  // log P(x | class) up to a constant: x m - |m|^2/2.
  const torch::Tensor log_odds = x.mm(means) + shares.log();
  return {torch::softmax(log_odds / beta, 1), truth.clone()};
}

Drawn draw(uint64_t seed, int64_t rows, int64_t trusted, const std::vector<double>& shares,
           const torch::Tensor& transition, double beta = 2, double separation = 2,
           const std::vector<double>& trusted_shares = {}) {
  const DefaultGeneratorScope randomness(seed);
  const auto of = [](const std::vector<double>& values) { return torch::tensor(values, torch::kFloat64); };
  Drawn drawn;
  drawn.truth = torch::multinomial(of(shares), rows, true);
  drawn.train = draw_predictions(drawn.truth, of(shares), beta, separation);
  drawn.train.labels = torch::multinomial(transition.index_select(0, drawn.truth), 1).squeeze(1);
  const torch::Tensor judges =
      torch::multinomial(of(trusted_shares.empty() ? shares : trusted_shares), trusted, true);
  drawn.trusted = draw_predictions(judges, of(shares), beta, separation);
  drawn.share = drawn.train.labels.ne(drawn.truth).to(torch::kFloat64).mean().item<double>();
  return drawn;
}

torch::Tensor rates(const std::vector<double>& values, int64_t classes) {
  return torch::tensor(values, torch::kFloat64).view({classes, classes});
}

// A classifier that is certain and right tells every wrong label: the rates are their shares.
TEST(LabelNoise, OfACertainModelCountsTheWrongLabels) {
  constexpr int64_t kRows = 3000;
  const torch::Tensor truth = torch::arange(kRows, torch::kInt64) % 3;
  // Of class 0 three in ten are recorded as 1; of the others none is wrong.
  const torch::Tensor wrong =
      ((truth == 0) & (torch::arange(kRows, torch::kInt64) / 3 % 10 < 3)).to(torch::kInt64);
  const LabelledPredictions train{torch::one_hot(truth, 3).to(torch::kFloat64) * 0.999997 + 1e-6,
                                  (truth + wrong) % 3};
  const LabelledPredictions trusted{train.probabilities.narrow(0, 0, 60), truth.narrow(0, 0, 60)};
  const LabelNoise found = fit_label_noise(train, trusted);
  EXPECT_LT((found.transition - rates({0.7, 0.3, 0, 0, 1, 0, 0, 0, 1}, 3)).abs().max().item<double>(), 1e-3);
  EXPECT_NEAR(found.share, 0.1, 1e-3);
  const Judgement judged = judge(found, train);
  EXPECT_TRUE(torch::equal(judged.right < 0.5, wrong == 1));
  EXPECT_TRUE(torch::equal(judged.suggested, truth));
}

// Noise of one direction in a rare class, which a symmetric rate cannot describe. The intervals hold the truth, and
// are no wider than 300 trusted and 3,000 other rows make them.
TEST(LabelNoise, FindsNoiseOfOneDirection) {
  const torch::Tensor truth = rates({1, 0, 0.3, 0.7}, 2);
  const Drawn drawn = draw(3, 3000, 300, {0.9, 0.1}, truth);
  const LabelNoise found = fit_label_noise(drawn.train, drawn.trusted);
  const NoiseIntervals intervals = noise_intervals(found, drawn.train, drawn.trusted);
  EXPECT_LE(intervals.share.first, drawn.share);
  EXPECT_GE(intervals.share.second, drawn.share);
  EXPECT_LT(intervals.share.second - intervals.share.first, 0.05);
  EXPECT_GT(intervals.share.first, 0);
  EXPECT_TRUE((intervals.low <= truth + 1e-9).all().item<bool>()) << intervals.low;
  EXPECT_TRUE((intervals.high >= truth - 1e-9).all().item<bool>()) << intervals.high;
  EXPECT_LT((intervals.high - intervals.low)[1][0].item<double>(), 0.4);
  EXPECT_LT(intervals.high[0][1].item<double>(), 0.02);
  EXPECT_NEAR(found.calibration.beta, 2, 0.6);
  const torch::Tensor suspicious = judge(found, drawn.train).right < 0.5;
  const torch::Tensor hit = suspicious & drawn.train.labels.ne(drawn.truth);
  EXPECT_GT(suspicious.sum().item<int64_t>(), 20);
  EXPECT_GT(hit.sum().item<double>(), 0.7 * suspicious.sum().item<double>());
}

// Three classes, each with rates of its own.
TEST(LabelNoise, FindsTheRatesOfEveryPair) {
  const torch::Tensor truth = rates({0.7, 0.3, 0, 0.05, 0.9, 0.05, 0.2, 0.2, 0.6}, 3);
  const Drawn drawn = draw(5, 4000, 400, {0.5, 0.3, 0.2}, truth, 0.7, 2.5);
  const LabelNoise found = fit_label_noise(drawn.train, drawn.trusted);
  const NoiseIntervals intervals = noise_intervals(found, drawn.train, drawn.trusted);
  // About two standard errors to either side.
  const torch::Tensor error = (intervals.high - intervals.low) / 3.92 + 1e-3;
  EXPECT_LT(((found.transition - truth) / error).abs().max().item<double>(), 4) << found.transition;
  EXPECT_LT((intervals.high - intervals.low).max().item<double>(), 0.3);
  EXPECT_NEAR(found.calibration.beta, 0.7, 0.2);
}

// What the rows' probabilities say comes true: in ten bins, within 4 standard errors.
TEST(LabelNoise, ProbabilitiesComeTrue) {
  const Drawn drawn = draw(7, 20000, 2000, {0.7, 0.3}, rates({0.8, 0.2, 0.4, 0.6}, 2), 3, 2);
  const torch::Tensor right = judge(fit_label_noise(drawn.train, drawn.trusted), drawn.train).right;
  const torch::Tensor is_right = drawn.train.labels.eq(drawn.truth).to(torch::kFloat64);
  int bins = 0;
  for (int bin = 0; bin < 10; ++bin) {
    const torch::Tensor in = (right >= bin / 10.0) & (right < (bin + 1) / 10.0);
    const double rows = in.sum().item<double>();
    if (rows < 200) continue;
    ++bins;
    const double said = right.masked_select(in).mean().item<double>();
    // The calibration has an error of its own, about that of 2,000 rows.
    EXPECT_NEAR(is_right.masked_select(in).mean().item<double>(), said,
                4 * std::sqrt(said * (1 - said) * (1 / rows + 1.0 / 2000)));
  }
  EXPECT_GE(bins, 5);
}

// 25 draws: an interval that holds the share with probability 0.95 does so in fewer than 20 of them once in 800 tries.
TEST(LabelNoise, IntervalOfTheShareHoldsIt) {
  for (const torch::Tensor& truth : {rates({1, 0, 0.3, 0.7}, 2), rates({0.7, 0.3, 0.3, 0.7}, 2)}) {
    int held = 0;
    constexpr int kDraws = 25;
    for (int i = 0; i < kDraws; ++i) {
      const Drawn drawn = draw(100 + static_cast<uint64_t>(i), 1000, 150, {0.8, 0.2}, truth);
      const LabelNoise found = fit_label_noise(drawn.train, drawn.trusted);
      const auto [low, high] = noise_intervals(found, drawn.train, drawn.trusted).share;
      EXPECT_LE(low, found.share + 1e-6);
      EXPECT_GE(high, found.share - 1e-6);
      held += low <= drawn.share && drawn.share <= high ? 1 : 0;
    }
    EXPECT_GE(held, 20) << truth;
  }
}

// Trusted rows drawn class by class: seen, told, and without influence on the shares.
TEST(LabelNoise, TrustedRowsOfOtherSharesAreNotTakenForASample) {
  const torch::Tensor truth = rates({0.95, 0.05, 0.3, 0.7}, 2);
  const std::vector<double> shares{0.9, 0.1};
  const Drawn alike = draw(11, 4000, 400, shares, truth, 2, 2.5);
  const LabelNoise found = fit_label_noise(alike.train, alike.trusted);
  EXPECT_GT(found.same_shares, kContradiction);
  EXPECT_GT(found.same_beta, kContradiction);
  EXPECT_GT(found.class_counts, kContradiction);
  EXPECT_FALSE(found.trusted_shift.defined());

  const Drawn other = draw(11, 4000, 400, shares, truth, 2, 2.5, {0.5, 0.5});
  const LabelNoise corrected = fit_label_noise(other.train, other.trusted);
  EXPECT_LT(corrected.same_shares, kContradiction);
  EXPECT_LT(corrected.class_counts, kContradiction);
  ASSERT_TRUE(corrected.trusted_shift.defined());
  // Odds of 9 to 1 became even.
  const torch::Tensor shift = corrected.trusted_shift;
  EXPECT_NEAR((shift[1] - shift[0]).item<double>(), std::log(9), 0.8);
  const auto [low, high] = noise_intervals(corrected, other.train, other.trusted).share;
  EXPECT_LE(low, other.share);
  EXPECT_GE(high, other.share);
  EXPECT_LT(high - low, 0.1);
}

// That no trusted row has a class does not make its labels wrong.
TEST(LabelNoise, AClassWithoutTrustedRowsIsNotTakenForAbsent) {
  const torch::Tensor truth = rates({0.8, 0.2, 0, 0.2, 0.8, 0, 0, 0, 1}, 3);
  const std::vector<double> shares{0.49, 0.49, 0.02};
  const Drawn drawn = draw(21, 1000, 200, shares, truth, 1, 3, {0.5, 0.5, 0});
  const LabelNoise found = fit_label_noise(drawn.train, drawn.trusted);
  const torch::Tensor rare = drawn.truth.eq(2), right = judge(found, drawn.train).right.masked_select(rare);
  ASSERT_GT(right.numel(), 10);
  EXPECT_GT(right.gt(0.5).to(torch::kFloat64).mean().item<double>(), 0.8);
  EXPECT_NEAR(found.share, drawn.share, 0.04);
}

TEST(LabelNoise, RowsOfAClassWithoutTrustedRowsGoOnTraining) {
  const torch::Tensor right = torch::tensor({0.1, 0.1, 0.9}, torch::kFloat64),
                      labels = torch::tensor({0, 2, 2}, torch::kInt64),
                      none = torch::empty({0}, torch::kInt64);
  const torch::Tensor some = judged_weights(right, labels, torch::tensor({0, 1, 1}, torch::kInt64), 3);
  EXPECT_TRUE(some.eq(torch::tensor({0.001, 1.0, 1.0}, torch::kFloat64)).all().item<bool>()) << some;
  EXPECT_TRUE(judged_weights(right, labels, none, 3).equal(weight_of(right, 3)));
}

// Trusted rows on which the predictions are four times as sure as on the others.
TEST(LabelNoise, TellsTrustedRowsOfAnotherKind) {
  Drawn drawn = draw(13, 4000, 400, {0.5, 0.5}, rates({0.7, 0.3, 0.3, 0.7}, 2), 2, 1.5);
  drawn.trusted.probabilities = torch::softmax(4 * drawn.trusted.probabilities.log(), 1);
  EXPECT_LT(fit_label_noise(drawn.train, drawn.trusted).same_beta, kContradiction);
}

// Classes that tell themselves apart: the shares of the trusted rows do not matter to the estimate, but are told. Rates
// of nearly nothing have intervals of nearly nothing.
TEST(LabelNoise, FindsNoNoiseWhereThereIsNone) {
  const Drawn drawn =
      draw(19, 300, 150, {0.4, 0.3, 0.3}, torch::eye(3, torch::kFloat64), 2, 6, {0.8, 0.1, 0.1});
  const LabelNoise found = fit_label_noise(drawn.train, drawn.trusted);
  const NoiseIntervals intervals = noise_intervals(found, drawn.train, drawn.trusted);
  EXPECT_LT(found.share, 0.01);
  EXPECT_EQ(intervals.share.first, 0);
  EXPECT_LT(intervals.share.second, 0.03);
  for (int64_t j = 0; j < 3; ++j) {
    for (int64_t k = 0; k < 3; ++k) {
      if (j == k)
        EXPECT_GT(intervals.low[j][k].item<double>(), 0.9);
      else
        EXPECT_LT(intervals.high[j][k].item<double>(), 0.1);
    }
  }
  EXPECT_LT(found.class_counts, kContradiction);
}

// Right labels are called noisy about as often as the p-value says; 5 % of wrong ones of a kind are told.
TEST(LabelNoise, TellsWrongLabelsFromNone) {
  constexpr int kDraws = 60;
  for (const int64_t classes : {2, 3}) {
    const std::vector<double> shares(static_cast<size_t>(classes), 1.0 / static_cast<double>(classes));
    const torch::Tensor right = torch::eye(classes, torch::kFloat64);
    int called = 0;
    for (int i = 0; i < kDraws; ++i) {
      const Drawn drawn = draw(static_cast<uint64_t>(1000 + i), 400, 100, shares, right, 1.5, 1.5);
      called += no_noise_p_value(drawn.train, drawn.trusted, false) < 0.025;
    }
    EXPECT_LE(called, 6) << classes;  // 1.5 expected, 3.7 standard deviations of 1.2
    torch::Tensor wrong = right.clone();
    wrong[0][0] = 0.9;
    wrong[0][1] = 0.1;
    const Drawn drawn = draw(7, 3000, 300, shares, wrong, 1.5, 2.5);
    EXPECT_LT(no_noise_p_value(drawn.train, drawn.trusted, false), 0.025) << classes;
  }
}

// Counted by hand: the thresholds are .6 and .75, the last row reaches none; half a row is added to each class.
TEST(LabelNoise, ConfidentJointCountsSureRows) {
  const LabelledPredictions train{
      torch::tensor({{0.9, 0.1}, {0.8, 0.2}, {0.1, 0.9}, {0.2, 0.8}, {0.3, 0.7}}, torch::kFloat64),
      torch::tensor({0, 0, 0, 1, 1}, torch::kInt64)};
  const double right_0 = 2.25 / 3.5 * 3, wrong_0 = 1.25 / 3.5 * 3, wrong_1 = 0.25 / 1.5 * 2,
               right_1 = 1.25 / 1.5 * 2;
  const torch::Tensor expected = rates({right_0 / (right_0 + wrong_1), wrong_1 / (right_0 + wrong_1),
                                        wrong_0 / (wrong_0 + right_1), right_1 / (wrong_0 + right_1)},
                                       2);
  EXPECT_LT((confident_joint(train) - expected).abs().max().item<double>(), 1e-12);
}

// A label without rows has no threshold.
TEST(LabelNoise, WithoutTrustedRowsBearsALabelThatNobodyHas) {
  const LabelledPredictions train{torch::tensor({{0.8, 0.1, 0.1}, {0.1, 0.8, 0.1}}, torch::kFloat64),
                                  torch::tensor({0, 1}, torch::kInt64)};
  const torch::Tensor rates = fit_label_noise(train, {}).transition;
  EXPECT_LT((rates.sum(1) - 1).abs().max().item<double>(), 1e-12);
  EXPECT_GT(rates.min().item<double>(), 0);
  EXPECT_GT(rates[0][0].item<double>(), 0.5);
}

// Classifiers that were trained on wrong labels predict these: what tells them is that the surest are right less often than they could be.
TEST(LabelNoise, WithoutTrustedRowsIsFoundInPredictionsOfWrongLabels) {
  const torch::Tensor wrong = rates({0.7, 0.2, 0.1, 0, 1, 0, 0, 0.3, 0.7}, 3);
  Drawn drawn = draw(17, 4000, 1, {0.4, 0.3, 0.3}, wrong, 1, 3);
  drawn.train.probabilities = drawn.train.probabilities.mm(wrong);
  const LabelNoise found = fit_label_noise(drawn.train, {});
  // Nothing is calibrated, so the bounds are of bias, not of chance: the share comes out .037 too low, a rate .072 off.
  EXPECT_NEAR(found.share, drawn.share, 0.04);
  EXPECT_LT((found.transition - wrong).abs().max().item<double>(), 0.1);
  EXPECT_GT(found.calibration.beta, 1);
  EXPECT_EQ(found.calibration.bias.abs().max().item<double>(), 0);
  EXPECT_GT(judge(found, drawn.train)
                .right.lt(0.5)
                .eq(drawn.train.labels.ne(drawn.truth))
                .to(torch::kFloat64)
                .mean()
                .item<double>(),
            0.97);
}

TEST(LabelNoise, RefusesWhatDoesNotFit) {
  const torch::Tensor even = torch::full({3, 2}, 0.5, torch::kFloat64);
  EXPECT_THROW(fit_label_noise({torch::ones({3, 1}), torch::zeros({3}, torch::kInt64)}, {}), InputError);
  EXPECT_THROW(fit_label_noise({even, torch::zeros({2}, torch::kInt64)}, {}), InputError);
  EXPECT_THROW(fit_label_noise({even.narrow(0, 0, 0), torch::zeros({0}, torch::kInt64)}, {}), InputError);
}

TEST(Calibration, IsSavedAndReadAgain) {
  const Calibration calibration{.beta = 1.7, .bias = torch::tensor({0.3, -0.1, -0.2}, torch::kFloat64)};
  const Calibration again = Calibration::from_json(calibration.to_json());
  const torch::Tensor p = torch::tensor({{0.2, 0.3, 0.5}, {1.0, 0.0, 0.0}}, torch::kFloat64);
  EXPECT_TRUE(torch::allclose(again.apply(p), calibration.apply(p)));
  EXPECT_TRUE(torch::allclose(again.apply(p).sum(1), torch::ones({2}, torch::kFloat64)));
  const torch::Tensor expected = p[0].pow(1.7) * calibration.bias.exp();
  EXPECT_TRUE(torch::allclose(calibration.apply(p)[0], expected / expected.sum()));
  EXPECT_THROW(Calibration::from_json({{"bias", {0.0}}}), nlohmann::json::exception);
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

TEST(LabelNoise, IsEstimatedFromAMillionRowsAtMost) {
  const torch::Tensor few = torch::arange(1'000'000);
  EXPECT_TRUE(torch::equal(NoiseLikelihood::some_of(few), few));
  EXPECT_TRUE(
      torch::equal(NoiseLikelihood::some_of(torch::arange(2'000'001)), torch::arange(0, 2'000'001, 3)));
}

}  // namespace label_noise_test
}  // namespace bilevel
