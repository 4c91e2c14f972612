#include "bilevel/report/metrics.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "bilevel/core/error.h"

namespace bilevel {
namespace {

/// Random scores on a coarse grid (many ties), positives a little higher.
ScoredRows random_rows(std::mt19937_64& random, int64_t count, int levels, double lift) {
  std::vector<double> scores;
  std::vector<int64_t> labels;
  for (int64_t i = 0; i < count; ++i) {
    labels.push_back(random() % 3 == 0 ? 1 : 0);
    scores.push_back(std::floor(static_cast<double>(random() % 1000) / 1000 * levels +
                                lift * static_cast<double>(labels.back())));
  }
  labels[0] = 1;
  labels[1] = 0;
  return {scores, labels};
}

double kernel(double positive, double negative) {
  return positive > negative ? 1 : positive == negative ? 0.5 : 0;
}

/// The AUC by its definition, over all pairs.
double auc_of_pairs(const std::vector<double>& scores, const ScoredRows& labels) {
  double sum = 0;
  for (int64_t i = 0; i < labels.size(); ++i) {
    for (int64_t j = 0; j < labels.size(); ++j) {
      if (labels.positive(i) && !labels.positive(j))
        sum += kernel(scores[static_cast<size_t>(i)], scores[static_cast<size_t>(j)]);
    }
  }
  return sum / static_cast<double>(labels.positives() * labels.negatives());
}

/// The data of the scikit-learn figures: 200 rows with many ties.
//   import numpy as np; from sklearn.metrics import *
//   i=np.arange(200); y=((i*i)%7==2).astype(int); s=((i*37)%23)/8+y*1.25; s2=((i*61)%41)/16+y*0.75
//   print(roc_auc_score(y,s), average_precision_score(y,s), roc_auc_score(y,s2))
//   p,r,t=precision_recall_curve(y,s); f=2*p*r/(p+r); k=f.argmax();
//   print(t[k],p[k],r[k],f[k],confusion_matrix(y,s>=t[k]))
//   print(len(roc_curve(y,s,drop_intermediate=False)[0]))
//   def v(s): P=s[y==1]; N=s[y==0]; K=(P[:,None]>N)+.5*(P[:,None]==N); return K.mean(1),K.mean(0)
//   a,b=v(s); c,d=v(s2); var=lambda x: x.var(ddof=1)/len(x)
//   print((var(a)+var(b))**.5, (var(a-c)+var(b-d))**.5)
std::pair<ScoredRows, ScoredRows> reference_rows() {
  std::vector<double> first;
  std::vector<double> second;
  std::vector<int64_t> labels;
  for (int i = 0; i < 200; ++i) {
    labels.push_back((i * i) % 7 == 2 ? 1 : 0);
    first.push_back((i * 37) % 23 / 8.0 + 1.25 * static_cast<double>(labels.back()));
    second.push_back((i * 61) % 41 / 16.0 + 0.75 * static_cast<double>(labels.back()));
  }
  return {ScoredRows(first, labels), ScoredRows(second, labels)};
}

TEST(Metrics, AucByHand) {
  EXPECT_EQ(auc({{3, 2, 1}, {1, 0, 0}}), 1);
  EXPECT_EQ(auc({{1, 2, 3}, {1, 0, 0}}), 0);
  EXPECT_EQ(auc({{1, 1, 1}, {1, 0, 0}}), 0.5);
  EXPECT_EQ(auc({{2, 2, 1, 3}, {1, 0, 0, 0}}), 0.5);  // above one, level with one, below one
  EXPECT_EQ(auc({{0.1, 0.4, 0.35, 0.8}, {0, 0, 1, 1}}), 0.75);
  EXPECT_EQ(auc({{-0.0, 0.0}, {1, 0}}), 0.5);
}

TEST(Metrics, AucEqualsAllPairsAndIgnoresMonotoneMaps) {
  std::mt19937_64 random(11);
  for (int trial = 0; trial < 50; ++trial) {
    const ScoredRows rows = random_rows(random, 2 + static_cast<int64_t>(random() % 80), 12, 3);
    EXPECT_NEAR(auc(rows), auc_of_pairs(rows.scores(), rows), 1e-14);
    std::vector<double> mapped;
    std::vector<int64_t> labels;
    for (int64_t i = 0; i < rows.size(); ++i) {
      mapped.push_back(std::exp(rows.scores()[static_cast<size_t>(i)]));
      labels.push_back(rows.positive(i));
    }
    EXPECT_EQ(auc({mapped, labels}), auc(rows));
  }
}

TEST(Metrics, AveragePrecisionByHand) {
  EXPECT_EQ(average_precision({{4, 3, 2, 1}, {1, 0, 1, 0}}), 0.5 * 1 + 0.5 * 2 / 3);
  EXPECT_EQ(average_precision({{1, 1, 1, 1}, {1, 0, 0, 0}}), 0.25);
  EXPECT_EQ(average_precision({{2, 1, 1}, {0, 1, 1}}), 2.0 / 3);
  EXPECT_EQ(average_precision({{2, 1}, {1, 1}}), 1);
}

TEST(Metrics, EqualsScikitLearn) {
  const auto [rows, second] = reference_rows();
  EXPECT_EQ(rows.positives(), 57);
  EXPECT_NEAR(auc(rows), 0.847073978652926, 1e-14);
  EXPECT_NEAR(average_precision(rows), 0.7437727404132461, 1e-14);
  EXPECT_NEAR(auc(second), 0.7340817077659183, 1e-14);
  const ThresholdCounts best = best_f1(rows);
  EXPECT_EQ(best.threshold, 2.5);
  EXPECT_NEAR(best.precision(), 0.6470588235294118, 1e-14);
  EXPECT_NEAR(best.recall(), 0.5789473684210527, 1e-14);
  EXPECT_NEAR(best.f1(), 0.6111111111111113, 1e-14);
  EXPECT_EQ(best.true_negatives, 125);
  EXPECT_EQ(best.false_positives, 18);
  EXPECT_EQ(best.false_negatives, 24);
  EXPECT_EQ(best.true_positives, 33);
  EXPECT_EQ(roc_curve(rows).size(), 34u);
  EXPECT_NEAR(auc_estimate(rows).standard_error, 0.028578684008351625, 1e-14);
  const AucDifference difference = auc_difference(rows, second);
  EXPECT_NEAR(difference.difference, auc(rows) - auc(second), 1e-15);
  EXPECT_NEAR(difference.standard_error, 0.047529561362992974, 1e-14);
  EXPECT_NEAR(auc_difference(second, rows).difference, -difference.difference, 1e-15);
}

TEST(Metrics, DelongEqualsTheSpreadOverFreshSamplesAndCoversTheTruth) {
  // Normal scores one standard deviation apart: the true AUC is Phi(1 / sqrt(2)).
  const double truth = 0.5 * std::erfc(-1.0 / std::sqrt(2.0) / std::sqrt(2.0));
  std::mt19937_64 random(5);
  std::normal_distribution<double> normal;
  constexpr int kSamples = 2000;
  double sum = 0;
  double squares = 0;
  double mean_variance = 0;
  int covered = 0;
  for (int sample = 0; sample < kSamples; ++sample) {
    std::vector<double> scores;
    std::vector<int64_t> labels;
    for (int i = 0; i < 120; ++i) {
      labels.push_back(i < 30 ? 1 : 0);
      scores.push_back(normal(random) + (i < 30 ? 1 : 0));
    }
    const AucEstimate estimate = auc_estimate({scores, labels});
    sum += estimate.auc;
    squares += (estimate.auc - truth) * (estimate.auc - truth);
    mean_variance += estimate.standard_error * estimate.standard_error / kSamples;
    covered += estimate.low <= truth && truth <= estimate.high ? 1 : 0;
  }
  const double variance = squares / kSamples;
  EXPECT_NEAR(sum / kSamples, truth, 4 * std::sqrt(variance / kSamples));
  // The sample variance of 2000 near-normal values has a relative standard error of sqrt(2 / 2000) = 3.2 %.
  EXPECT_NEAR(mean_variance / variance, 1, 4 * 0.032);
  // Coverage: 4 standard errors of a share of 0.95 over 2000 trials are 0.0195.
  EXPECT_NEAR(static_cast<double>(covered) / kSamples, 0.95, 0.0195);
}

TEST(Metrics, DelongEqualsABootstrap) {
  const auto [rows, second] = reference_rows();
  std::mt19937_64 random(3);
  std::vector<int64_t> by_class[2];
  for (int64_t i = 0; i < rows.size(); ++i) by_class[rows.positive(i)].push_back(i);
  constexpr int kResamples = 2000;
  double mean = 0;
  double square = 0;
  for (int resample = 0; resample < kResamples; ++resample) {
    std::vector<double> first_scores;
    std::vector<double> second_scores;
    std::vector<int64_t> labels;
    for (const auto& members : by_class) {
      for (size_t i = 0; i < members.size(); ++i) {
        const auto row = static_cast<size_t>(members[random() % members.size()]);
        first_scores.push_back(rows.scores()[row]);
        second_scores.push_back(second.scores()[row]);
        labels.push_back(&members == &by_class[1] ? 1 : 0);
      }
    }
    const double difference = auc({first_scores, labels}) - auc({second_scores, labels});
    mean += difference / kResamples;
    square += difference * difference / kResamples;
  }
  const double error = std::sqrt(square - mean * mean);
  EXPECT_NEAR(auc_difference(rows, second).standard_error / error, 1,
              0.08);  // bootstrap noise 1.6 %, bias about 1/57
}

// Solved by NumPy with the integral of Owen's T in 20,000 cells.
TEST(Metrics, ScoreIntervalsByAnIndependentProgram) {
  const auto check = [](const ScoredRows& rows, double low, double high) {
    const AucEstimate e = auc_estimate(rows);
    EXPECT_NEAR(e.low, low, 1e-8);
    EXPECT_NEAR(e.high, high, 1e-8);
  };
  check({{4, 3, 2, 1, 0}, {1, 1, 0, 0, 0}}, 0.4381417573504233, 1);
  check({{2, 1}, {1, 0}}, 0.2065493143772374, 1);
  check({{2, 3, 1}, {1, 0, 0}}, 0.07777162960377344, 0.9222283703962265);  // one positive row
  check({{.9, .8, .7, .6, .55, .5, .4, .3, .2, .1}, {1, 1, 0, 1, 0, 0, 1, 0, 0, 0}}, 0.44713493782395036,
        0.9620800495662403);
  std::vector<double> scores(220, 0);
  std::vector<int64_t> labels(220, 0);
  std::fill_n(scores.begin(), 20, 1.0);
  std::fill_n(labels.begin(), 20, 1);
  check({scores, labels}, 0.9458734936434054, 1);  // 20 of 220 rows, perfect
  check({{1, 1, 1, 1}, {1, 1, 0, 0}}, 0.5, 0.5);
  EXPECT_TRUE(std::isnan(auc_estimate({{2, 3, 1}, {1, 0, 0}}).standard_error));
  EXPECT_EQ(auc_estimate({{1, 1, 1, 1}, {1, 1, 0, 0}}).standard_error, 0);
}

TEST(Metrics, ScoreIntervalsStayInsideAndFollowTheRows) {
  std::mt19937_64 random(2);
  for (int trial = 0; trial < 200; ++trial) {
    const ScoredRows rows = random_rows(random, 4 + static_cast<int64_t>(random() % 20), 8, 4);
    const AucEstimate e = auc_estimate(rows);
    EXPECT_LE(0, e.low);
    EXPECT_LE(e.low, e.auc + 1e-12);
    EXPECT_LE(e.auc, e.high + 1e-12);
    EXPECT_LE(e.high, 1);
    std::vector<double> turned;
    std::vector<int64_t> labels, swapped;
    for (int64_t i = 0; i < rows.size(); ++i) {
      turned.push_back(-rows.scores()[static_cast<size_t>(i)]);
      labels.push_back(rows.positive(i) ? 1 : 0);
      swapped.push_back(rows.positive(i) ? 0 : 1);
    }
    const AucEstimate mirrored = auc_estimate({turned, labels}), same = auc_estimate({turned, swapped});
    EXPECT_NEAR(mirrored.low, 1 - e.high, 1e-9);
    EXPECT_NEAR(mirrored.high, 1 - e.low, 1e-9);
    EXPECT_NEAR(same.low, e.low, 1e-9);
    EXPECT_NEAR(same.high, e.high, 1e-9);
  }
}

// With many rows the interval is DeLong's own, mean -+ 1.96 standard errors, up to terms of order 1/n.
TEST(Metrics, ScoreIntervalsOfManyRowsAreDelongs) {
  std::mt19937_64 random(7);
  const AucEstimate e = auc_estimate(random_rows(random, 40000, 30, 6));
  EXPECT_NEAR((e.high - e.low) / (2 * 1.959963984540054 * e.standard_error), 1, 0.002);
  EXPECT_NEAR((e.high + e.low) / 2, e.auc, 0.02 * e.standard_error);
}

/// Normal scores in which `positives` rows of 11 times as many are higher by `shift`; `first` and `second` share the
/// part `correlation`.
struct PairedScores {
  std::vector<double> first, second;
  std::vector<int64_t> labels;

  PairedScores(std::mt19937_64& random, int64_t positives, double first_shift, double second_shift,
               double correlation) {
    std::normal_distribution<double> normal;
    for (int64_t i = 0; i < 11 * positives; ++i) {
      const double common = normal(random), own = normal(random);
      labels.push_back(i < positives ? 1 : 0);
      first.push_back(common + (i < positives ? first_shift : 0));
      second.push_back(correlation * common + std::sqrt(1 - correlation * correlation) * own +
                       (i < positives ? second_shift : 0));
    }
  }
};

// 20 positive rows: 4 standard errors of a share of 0.95 over 2000 draws are 0.0195. DeLong's interval on the logit
// scale covers 0.916 of them.
TEST(Metrics, TheIntervalOfFewPositiveRowsCoversTheTruth) {
  constexpr int kDraws = 2000;
  const double shift = 1.8124, truth = 0.5 * std::erfc(-shift / 2);  // AUC 0.9
  std::mt19937_64 random(17);
  int covered = 0;
  for (int draw = 0; draw < kDraws; ++draw) {
    const PairedScores drawn(random, 20, shift, 0, 0);
    const AucEstimate e = auc_estimate({drawn.first, drawn.labels});
    covered += e.low <= truth && truth <= e.high ? 1 : 0;
  }
  EXPECT_NEAR(covered / double{kDraws}, 0.95, 0.0195);
}

TEST(Metrics, ThePairedIntervalCoversTheDifference) {
  constexpr int kDraws = 2000;
  const double first = 1.8124, second = 1.4657;  // AUC 0.9 and 0.85
  const auto area = [](double shift) { return 0.5 * std::erfc(-shift / 2); };
  std::mt19937_64 random(18);
  int covered = 0, shown = 0;
  for (int draw = 0; draw < kDraws; ++draw) {
    const PairedScores drawn(random, 20, first, second, 0.5);
    const AucDifference d = auc_difference({drawn.first, drawn.labels}, {drawn.second, drawn.labels});
    if (!d.has_interval()) continue;
    ++shown;
    const double truth = area(first) - area(second);
    covered += d.low <= truth && truth <= d.high ? 1 : 0;
  }
  EXPECT_GT(shown, 0.85 * kDraws);
  EXPECT_NEAR(covered / static_cast<double>(shown), 0.95, 0.021);
}

// A unit of eight equal rows tells as much as one of them.
TEST(Metrics, CopiesOfRowsMakeNoIntervalNarrower) {
  std::mt19937_64 random(19);
  const PairedScores drawn(random, 20, 1.8, 1.4, 0.5);
  constexpr size_t kCopies = 8;
  std::vector<double> first, second;
  std::vector<int64_t> labels, unit_of, alone;
  for (size_t i = 0; i < drawn.labels.size(); ++i) {
    alone.push_back(static_cast<int64_t>(i));
    for (size_t c = 0; c < kCopies; ++c) {
      first.push_back(drawn.first[i]);
      second.push_back(drawn.second[i]);
      labels.push_back(drawn.labels[i]);
      unit_of.push_back(static_cast<int64_t>(i));
    }
  }
  const AucEstimate one = auc_estimate({drawn.first, drawn.labels}, alone),
                    copied = auc_estimate({first, labels}, unit_of);
  EXPECT_NEAR(copied.auc, one.auc, 1e-12);
  EXPECT_NEAR(copied.standard_error, one.standard_error, 1e-12);
  EXPECT_NEAR(copied.low, one.low, 1e-9);
  EXPECT_NEAR(copied.high, one.high, 1e-9);
  const AucDifference d = auc_difference({drawn.first, drawn.labels}, {drawn.second, drawn.labels}, alone),
                      of_copies = auc_difference({first, labels}, {second, labels}, unit_of);
  EXPECT_NEAR(of_copies.low, d.low, 1e-9);
  EXPECT_NEAR(of_copies.high, d.high, 1e-9);
  // Units of one row: DeLong's, but that n - 1 stands for all rows and not for those of a class (20 and 220).
  EXPECT_NEAR(one.standard_error, auc_estimate({drawn.first, drawn.labels}).standard_error,
              0.03 * one.standard_error);
  EXPECT_LT(auc_estimate({first, labels}).standard_error, 0.4 * one.standard_error);
}

// Groups of four rows share half of what makes a score; truth and coverage as above.
TEST(Metrics, TheIntervalOfGroupsCoversTheTruth) {
  constexpr int kDraws = 1000;
  constexpr int64_t kGroups = 120, kTogether = 4;
  const double shift = 1.8124, truth = 0.5 * std::erfc(-shift / 2);  // AUC 0.9
  std::mt19937_64 random(20);
  std::normal_distribution<double> normal;
  int covered = 0, covered_by_rows = 0;
  for (int draw = 0; draw < kDraws; ++draw) {
    std::vector<double> scores;
    std::vector<int64_t> labels, unit_of;
    for (int64_t g = 0; g < kGroups; ++g) {
      const double common = normal(random);
      for (int64_t i = 0; i < kTogether; ++i) {
        labels.push_back(g % 4 == 0 ? 1 : 0);
        scores.push_back(std::sqrt(0.5) * (common + normal(random)) + (g % 4 == 0 ? shift : 0));
        unit_of.push_back(g);
      }
    }
    const auto holds = [&](const AucEstimate& e) { return e.low <= truth && truth <= e.high ? 1 : 0; };
    covered += holds(auc_estimate({scores, labels}, unit_of));
    covered_by_rows += holds(auc_estimate({scores, labels}));
  }
  EXPECT_NEAR(covered / double{kDraws}, 0.95, 0.0276);  // 4 standard errors
  EXPECT_LT(covered_by_rows / double{kDraws}, 0.9);
}

TEST(Metrics, PairedDifferenceByHand) {
  // NumPy: standard error and degrees of freedom, from second and fourth moments of the placements' differences.
  const std::vector<int64_t> labels{1, 1, 0, 1, 0, 0, 1, 0, 0, 0};
  const AucDifference d = auc_difference({{.9, .8, .7, .6, .55, .5, .4, .3, .2, .1}, labels},
                                         {{.5, .8, .3, .9, .55, .4, .6, .2, .7, .1}, labels});
  EXPECT_NEAR(d.difference, -1.0 / 24, 1e-15);
  EXPECT_NEAR(d.standard_error, 0.19661487076873765, 1e-14);
  EXPECT_FALSE(d.has_interval());  // 4 rows x (1 - 0.875) misranked by the better one
  // 2 x 4 rows of each kind: the same moments but for n - 1, and now 8 x 0.125 = 1 misranked.
  const auto twice = [](std::vector<double> values) {
    const std::vector<double> copy = values;
    values.insert(values.end(), copy.begin(), copy.end());
    return values;
  };
  std::vector<int64_t> doubled = labels;
  doubled.insert(doubled.end(), labels.begin(), labels.end());
  const AucDifference of_twice = auc_difference({twice({.9, .8, .7, .6, .55, .5, .4, .3, .2, .1}), doubled},
                                                {twice({.5, .8, .3, .9, .55, .4, .6, .2, .7, .1}), doubled});
  ASSERT_TRUE(of_twice.has_interval()) << of_twice.no_interval;
  EXPECT_NEAR(of_twice.high - of_twice.difference, of_twice.difference - of_twice.low, 1e-12);
  EXPECT_NEAR((of_twice.high - of_twice.difference) / of_twice.standard_error, 2.100922,
              1e-5);  // t, 18 degrees
}

TEST(Metrics, NoIntervalWhereRowsCannotTell) {
  std::mt19937_64 random(8);
  const ScoredRows rows = random_rows(random, 100, 10, 3);
  const AucDifference same = auc_difference(rows, rows);
  EXPECT_EQ(same.difference, 0);
  EXPECT_EQ(same.standard_error, 0);
  EXPECT_FALSE(same.has_interval());
  EXPECT_EQ(same.no_interval, "both rank every row alike");
  // Two perfect models, of which one has the rows in another order: nothing says that they differ by [0, 0].
  const AucDifference perfect =
      auc_difference({{6, 5, 4, 3, 2, 1}, {1, 1, 1, 0, 0, 0}}, {{4, 5, 6, 1, 2, 3}, {1, 1, 1, 0, 0, 0}});
  EXPECT_FALSE(perfect.has_interval());
  EXPECT_TRUE(std::isnan(perfect.low) && std::isnan(perfect.high));
  // A perfect one and one with a single misranked pair.
  const AucDifference near =
      auc_difference({{6, 5, 4, 3, 2, 1}, {1, 1, 1, 0, 0, 0}}, {{6, 5, 3, 4, 2, 1}, {1, 1, 1, 0, 0, 0}});
  EXPECT_GT(near.standard_error, 0);
  EXPECT_FALSE(near.has_interval());
  // A perfect one and one that misranks half of 80 rows: of the difference the second one's error is that.
  std::vector<double> best, coin;
  std::vector<int64_t> labels;
  for (int i = 0; i < 80; ++i) {
    labels.push_back(i % 2);
    best.push_back(i % 2);
    coin.push_back(i * 7 % 80);
  }
  const AucDifference crushing = auc_difference({best, labels}, {coin, labels});
  ASSERT_TRUE(crushing.has_interval()) << crushing.no_interval;
  EXPECT_GT(crushing.low, 0.2);
  EXPECT_EQ(auc_difference({{2, 3, 1}, {1, 0, 0}}, {{3, 2, 1}, {1, 0, 0}}).no_interval,
            "a class has fewer than two test rows");
  EXPECT_TRUE(auc_difference(reference_rows().first, reference_rows().second).has_interval());
  EXPECT_THROW(auc_difference(ScoredRows({1, 2}, {0, 1}), ScoredRows({1, 2}, {1, 0})), InputError);
  EXPECT_THROW(auc_difference(ScoredRows({1, 2}, {0, 1}), ScoredRows({1, 2, 3}, {0, 1, 0})), InputError);
}

TEST(Metrics, RocCurveByHand) {
  const std::vector<RocPoint> points = roc_curve({{3, 2, 2, 1}, {1, 1, 0, 0}});
  ASSERT_EQ(points.size(), 4u);
  EXPECT_TRUE(std::isinf(points[0].threshold));
  const double expected[4][2] = {{0, 0}, {0, 0.5}, {0.5, 1}, {1, 1}};
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(points[i].false_positive_rate, expected[i][0]);
    EXPECT_EQ(points[i].true_positive_rate, expected[i][1]);
  }
  EXPECT_EQ(points[2].threshold, 2);
}

TEST(Metrics, AThinnedRocCurveKeepsEndsAreaAndOrder) {
  std::mt19937_64 random(4);
  const ScoredRows rows = random_rows(random, 20000, 1 << 20, 1 << 18);
  const auto area = [](const std::vector<RocPoint>& points) {
    double sum = 0;
    for (size_t i = 1; i < points.size(); ++i) {
      const RocPoint& a = points[i - 1];
      const RocPoint& b = points[i];
      EXPECT_LE(a.false_positive_rate, b.false_positive_rate);
      EXPECT_LE(a.true_positive_rate, b.true_positive_rate);
      EXPECT_GT(a.threshold, b.threshold);
      sum +=
          (b.false_positive_rate - a.false_positive_rate) * (a.true_positive_rate + b.true_positive_rate) / 2;
    }
    return sum;
  };
  EXPECT_NEAR(area(roc_curve(rows, 1'000'000)), auc(rows), 1e-12);
  for (const int64_t limit : {3, 4, 50, 500}) {
    const std::vector<RocPoint> thin = roc_curve(rows, limit);
    EXPECT_LE(static_cast<int64_t>(thin.size()), limit);
    EXPECT_EQ(thin.front().true_positive_rate + thin.front().false_positive_rate, 0);
    EXPECT_EQ(thin.back().true_positive_rate + thin.back().false_positive_rate, 2);
    area(thin);
    for (size_t i = 1; i < thin.size() && limit >= 50; ++i) {
      const double gap = thin[i].true_positive_rate + thin[i].false_positive_rate -
                         thin[i - 1].true_positive_rate - thin[i - 1].false_positive_rate;
      EXPECT_LT(gap, 4.0 / static_cast<double>(limit - 2));
    }
  }
  EXPECT_NEAR(area(roc_curve(rows, 500)), auc(rows), 1e-3);
  EXPECT_THROW(roc_curve(rows, 2), InputError);
}

TEST(Metrics, CountsAtAThreshold) {
  const ScoredRows rows({0.9, 0.8, 0.8, 0.3}, {1, 0, 1, 1});
  const ThresholdCounts at = counts_at(rows, 0.8);
  EXPECT_EQ(at.true_positives, 2);
  EXPECT_EQ(at.false_positives, 1);
  EXPECT_EQ(at.true_negatives, 0);
  EXPECT_EQ(at.false_negatives, 1);
  EXPECT_EQ(at.precision(), 2.0 / 3);
  EXPECT_EQ(at.recall(), 2.0 / 3);
  EXPECT_EQ(at.f1(), 2.0 / 3);
  const ThresholdCounts none = counts_at(rows, INFINITY);
  EXPECT_TRUE(std::isnan(none.precision()));
  EXPECT_EQ(none.recall(), 0);
  EXPECT_EQ(none.f1(), 0);
  EXPECT_TRUE(std::isnan(counts_at(ScoredRows({1}, {0}), 0).recall()));
  EXPECT_EQ(counts_at(rows, -INFINITY).false_positives, 1);
  EXPECT_THROW(counts_at(rows, NAN), InputError);
}

TEST(Metrics, BestF1IsTheBestOfAllThresholdsAndTakesTheHighestOfEquals) {
  std::mt19937_64 random(6);
  for (int trial = 0; trial < 50; ++trial) {
    const ScoredRows rows = random_rows(random, 2 + static_cast<int64_t>(random() % 60), 15, 4);
    const ThresholdCounts best = best_f1(rows);
    for (const double score : rows.scores()) {
      const double f1 = counts_at(rows, score).f1();
      EXPECT_LE(f1, best.f1());
      if (f1 == best.f1()) {
        EXPECT_LE(score, best.threshold);
      }
    }
  }
  // tp 1 of 1 called: 2/3; tp 2 of 4 called: 4/6.
  EXPECT_EQ(best_f1({{4, 3, 2, 1}, {1, 0, 0, 1}}).threshold, 4);
}

TEST(Metrics, TensorsOfAnyFloatingTypeGiveTheSame) {
  const torch::Tensor scores = torch::tensor({0.5, 0.25, 0.75, 0.25}, torch::kFloat64);
  const torch::Tensor labels = torch::tensor({1, 0, 1, 1});
  for (const auto type : {torch::kFloat64, torch::kFloat32, torch::kFloat16, torch::kBFloat16}) {
    EXPECT_EQ(auc({scores.to(type).requires_grad_().unsqueeze(1), labels.to(torch::kFloat32)}), 2.5 / 3);
  }
  EXPECT_EQ(auc({scores, labels.to(torch::kBool)}), 2.5 / 3);
}

TEST(Metrics, BadInputIsRefusedWithItsRow) {
  for (const double bad : {NAN, INFINITY, -INFINITY}) {
    try {
      ScoredRows({0, bad}, {0, 1});
      ADD_FAILURE();
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find("row 1"), std::string::npos);
    }
  }
  EXPECT_THROW(ScoredRows({0, 1}, {0, 2}), InputError);
  EXPECT_THROW(ScoredRows({0, 1}, {0, -1}), InputError);
  EXPECT_THROW(ScoredRows({0, 1}, {0}), InputError);
  EXPECT_THROW(ScoredRows(torch::ones({2}), torch::tensor({0.5, 1.0})), InputError);
  EXPECT_THROW(ScoredRows(torch::ones({2}), torch::full({2}, NAN)), InputError);
  EXPECT_THROW(ScoredRows(torch::ones({2, 2}), torch::ones({4})), InputError);
  EXPECT_THROW(ScoredRows(torch::ones({2}, torch::kInt64), torch::ones({2})), InputError);
  EXPECT_THROW(ScoredRows(torch::Tensor(), torch::ones({2})), InputError);
  EXPECT_THROW(auc({{1, 2}, {1, 1}}), InputError);
  EXPECT_THROW(auc_estimate({{1, 2}, {0, 0}}), InputError);
  EXPECT_THROW(average_precision({{1, 2}, {0, 0}}), InputError);
  EXPECT_THROW(best_f1({{1, 2}, {0, 0}}), InputError);
  EXPECT_THROW(roc_curve({{1, 2}, {0, 0}}), InputError);
  EXPECT_THROW(auc({std::vector<double>{}, {}}), InputError);
}

}  // namespace
}  // namespace bilevel
