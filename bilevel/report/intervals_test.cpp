#include "bilevel/report/intervals.h"

#include <gtest/gtest.h>

#include <cmath>

namespace bilevel {
namespace intervals_test {

// Quantiles of Student's t from published tables (three decimals) and closed forms.
TEST(Intervals, QuantilesOfStudentsT) {
  struct Row {
    double degrees, p95, p975, p995;
  };
  for (const Row& row :
       {Row{2, 2.920, 4.303, 9.925}, Row{3, 2.353, 3.182, 5.841}, Row{4, 2.132, 2.776, 4.604},
        Row{9, 1.833, 2.262, 3.250}, Row{29, 1.699, 2.045, 2.756}, Row{120, 1.658, 1.980, 2.617}}) {
    EXPECT_NEAR(student_t_quantile(0.95, row.degrees), row.p95, 5.1e-4);
    EXPECT_NEAR(student_t_quantile(0.975, row.degrees), row.p975, 5.1e-4);
    EXPECT_NEAR(student_t_quantile(0.995, row.degrees), row.p995, 5.1e-4);
  }
  for (const double p : {0.01, 0.3, 0.5, 0.8, 0.975, 0.9999}) {
    // One degree of freedom: Cauchy. Two: t = (2p - 1) / sqrt(2 p (1 - p)).
    EXPECT_NEAR(student_t_quantile(p, 1), std::tan(M_PI * (p - 0.5)), 1e-10 * (1 + std::pow(1 - p, -1.0)));
    EXPECT_NEAR(student_t_quantile(p, 2), (2 * p - 1) / std::sqrt(2 * p * (1 - p)), 1e-9);
  }
  EXPECT_NEAR(student_t_quantile(0.975, 1e7), 1.959964, 1e-5);  // the normal limit
}

// By hand: 1, 2, 3, 4 have s^2 = 5/3, and t of 3 degrees of freedom is 3.182446.
TEST(Intervals, OfRunsThatShareTrainingRowsAreWider) {
  const MeanInterval corrected = resampled_interval({1, 2, 3, 4}, 1.0 / 3);
  EXPECT_EQ(corrected.mean, 2.5);
  EXPECT_NEAR(corrected.high - 2.5, 3.182446 * std::sqrt((1.0 / 4 + 1.0 / 3) * 5 / 3), 1e-6);
  EXPECT_NEAR(2.5 - corrected.low, corrected.high - 2.5, 1e-12);
  EXPECT_EQ(resampled_interval({1, 2, 3, 4}, 0).high, mean_interval({1, 2, 3, 4}).high);
  const PairedDifference d = resampled_difference({1, 2, 3, 4}, 1.0 / 3);
  EXPECT_EQ(d.low, corrected.low);
  EXPECT_EQ(verdict_of(d), PairedVerdict::not_told_apart);
  EXPECT_FALSE(resampled_difference({1, 1, 1}, 0.5).has_interval());
}

TEST(Intervals, ProbabilityIsTheInverse) {
  for (const double degrees : {1.0, 2.0, 5.0, 40.0, 1000.0}) {
    for (const double t : {-30.0, -2.5, -0.1, 0.0, 0.7, 3.0, 12.0}) {
      const double p = student_t_probability(t, degrees);
      EXPECT_NEAR(p + student_t_probability(-t, degrees), 1, 1e-14);
      if (p > 1e-6 && p < 1 - 1e-6) {
        EXPECT_NEAR(student_t_quantile(p, degrees), t, 1e-7 * (1 + std::abs(t)));
      }
    }
  }
}

TEST(Intervals, IntervalOfAMean) {
  // s^2 = 2.5 and n = 5: 3 -+ 2.776445 * sqrt(0.5).
  const MeanInterval five = mean_interval({1, 2, 3, 4, 5});
  EXPECT_EQ(five.count, 5);
  EXPECT_DOUBLE_EQ(five.mean, 3);
  EXPECT_NEAR(five.high - 3, 2.7764451 * std::sqrt(0.5), 1e-6);
  EXPECT_NEAR(3 - five.low, five.high - 3, 1e-14);
  // Two values: t for one degree is 12.7062.
  const MeanInterval two = mean_interval({0, 2});
  EXPECT_NEAR(two.high, 1 + 12.7062047, 1e-6);

  const MeanInterval one = mean_interval({7});
  EXPECT_DOUBLE_EQ(one.mean, 7);
  EXPECT_FALSE(one.has_interval());
  EXPECT_TRUE(std::isnan(one.low) && std::isnan(one.high));
  EXPECT_TRUE(std::isnan(mean_interval({}).mean));
  const MeanInterval same = mean_interval({0.5, 0.5, 0.5});
  EXPECT_EQ(same.low, 0.5);
  EXPECT_EQ(same.high, 0.5);
}

TEST(Intervals, DifferencesOnTheSameRows) {
  std::vector<double> own(20, 0), other(20, 0);
  EXPECT_EQ(paired_difference(own, other).no_interval, "they differ on none of the rows");
  for (size_t i = 0; i < 9; ++i) own[i] = 1;
  const PairedDifference few = paired_difference(own, other, "tasks");
  EXPECT_DOUBLE_EQ(few.difference, 0.45);
  EXPECT_EQ(few.no_interval, "they differ on 9 tasks only");
  EXPECT_TRUE(std::isnan(few.low) && std::isnan(few.high));
  other[19] = 1;
  const PairedDifference enough = paired_difference(own, other);
  ASSERT_TRUE(enough.has_interval());
  EXPECT_DOUBLE_EQ(enough.difference, 0.4);
  // s^2 = (9 (1 - 0.4)^2 + (1 + 0.4)^2 + 10 0.4^2) / 19 = 6.8 / 19, and t = 2.09302 for 19 degrees of freedom.
  const double half = 2.0930240544 * std::sqrt(6.8 / 19 / 20);
  EXPECT_NEAR(enough.low, 0.4 - half, 1e-9);
  EXPECT_NEAR(enough.high, 0.4 + half, 1e-9);
}

// Numbers that repeat within units tell as much as one of each.
TEST(Intervals, OfUnitsOfRows) {
  const std::vector<double> of_unit{0.3, -0.1, 0.4, 0.2, 0.9, -0.5, 0.1, 0.35, 0.25, 0.05, 0.6, -0.2};
  std::vector<double> values, none;
  std::vector<int64_t> unit_of;
  for (size_t u = 0; u < of_unit.size(); ++u)
    for (int copy = 0; copy < 8; ++copy) {
      values.push_back(of_unit[u]);
      none.push_back(0);
      unit_of.push_back(static_cast<int64_t>(100 - u));
    }
  const PairedDifference by_row = paired_difference(values, none),
                         by_unit_of = paired_difference(values, none, "rows", unit_of),
                         once = paired_difference(of_unit, std::vector<double>(of_unit.size(), 0));
  EXPECT_NEAR(by_unit_of.difference, once.difference, 1e-12);
  EXPECT_NEAR(by_unit_of.low, once.low, 1e-12);
  EXPECT_NEAR(by_unit_of.high, once.high, 1e-12);
  EXPECT_GT(by_row.low, once.low);
  // Units of unlike size: the mean is that of the rows.
  const std::vector<double> uneven = by_unit({1, 2, 3, 6}, {7, 7, 7, 9});
  EXPECT_NEAR(uneven[0], 3 + 0.5 * (1 + 2 + 3 - 9), 1e-12);
  EXPECT_NEAR(uneven[1], 3 + 0.5 * (6 - 3), 1e-12);
  EXPECT_EQ(by_unit({1, 2}, {}), (std::vector<double>{1, 2}));
}

TEST(Intervals, IntervalOfAMedian) {
  std::vector<double> values;
  for (int i = 0; i < 101; ++i) values.push_back((i * 37) % 101);
  // P(Binomial(101, 1/2) <= 40) = 0.0230, P(... <= 41) = 0.0366.
  const MedianInterval many = median_interval(values);
  EXPECT_EQ(many.median, 50);
  EXPECT_EQ(many.low, 40);
  EXPECT_EQ(many.high, 60);
  // P(Binomial(8, 1/2) <= 0) = 0.0039, P(... <= 1) = 0.0352.
  const MedianInterval eight = median_interval({8, 7, 6, 5, 4, 3, 2, 1});
  EXPECT_EQ(eight.median, 4);
  EXPECT_EQ(eight.low, 1);
  EXPECT_EQ(eight.high, 8);
  const MedianInterval loose = median_interval({8, 7, 6, 5, 4, 3, 2, 1}, 0.9);
  EXPECT_EQ(loose.low, 2);
  EXPECT_EQ(loose.high, 7);
  EXPECT_EQ(median_interval({3}).high, 3);
  EXPECT_TRUE(std::isnan(median_interval({}).median));
}

}  // namespace intervals_test
}  // namespace bilevel
