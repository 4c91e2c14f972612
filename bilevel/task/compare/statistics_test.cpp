#include "bilevel/task/compare/statistics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace bilevel {
namespace statistics_test {

TEST(Statistics, JointConfidenceIsBonferronis) {
  EXPECT_DOUBLE_EQ(joint_confidence(2), 0.95);
  EXPECT_DOUBLE_EQ(joint_confidence(5), 1 - 0.05 / 10);
  EXPECT_DOUBLE_EQ(joint_confidence(16, 0.9), 1 - 0.1 / 120);
}

// Draws without any difference between the competitors: all intervals of the difference to the one that happens to be
// best hold 0 at once in at least 95 %, up to 4 standard errors of 0.0049; with plain 95 % for each in far fewer.
TEST(Statistics, IntervalsToTheChosenBestHoldTogether) {
  constexpr int kDraws = 2000, kRuns = 4;
  std::mt19937_64 random(9);
  std::normal_distribution<double> normal;
  for (const int64_t competitors : {3, 8}) {
    int joint = 0, plain = 0;
    for (int draw = 0; draw < kDraws; ++draw) {
      std::vector<std::vector<double>> runs(static_cast<size_t>(competitors), std::vector<double>(kRuns));
      for (auto& own : runs) {
        for (double& value : own) value = normal(random);
      }
      const auto best = std::max_element(runs.begin(), runs.end(), [](const auto& a, const auto& b) {
        return mean_interval(a).mean < mean_interval(b).mean;
      });
      const auto all_hold = [&](double confidence) {
        return std::all_of(runs.begin(), runs.end(), [&](const std::vector<double>& own) {
          if (&own == &*best) return true;
          std::vector<double> difference;
          for (size_t i = 0; i < own.size(); ++i) difference.push_back(own[i] - (*best)[i]);
          const MeanInterval interval = mean_interval(difference, confidence);
          return interval.low <= 0 && interval.high >= 0;
        });
      };
      joint += all_hold(joint_confidence(competitors)) ? 1 : 0;
      plain += all_hold(0.95) ? 1 : 0;
    }
    EXPECT_GT(joint / double{kDraws}, 0.95 - 4 * 0.0049) << competitors;
    EXPECT_LT(plain / double{kDraws}, 0.91) << competitors;
  }
}

using Ranks = std::vector<std::optional<int64_t>>;

TEST(Statistics, RanksGoByTheMean) {
  const std::vector<Standing> three{
      {.finished = 3, .mean = 0.8}, {.finished = 3, .mean = 0.9}, {.finished = 3, .mean = 0.7}};
  EXPECT_EQ(ranks(three, true), (Ranks{2, 1, 3}));
  EXPECT_EQ(ranks(three, false), (Ranks{2, 3, 1}));
}

TEST(Statistics, TiesShareTheBetterRank) {
  const std::vector<Standing> four{{.finished = 2, .mean = 1},
                                   {.finished = 2, .mean = 2},
                                   {.finished = 2, .mean = 2},
                                   {.finished = 2, .mean = 3}};
  EXPECT_EQ(ranks(four, false), (Ranks{1, 2, 2, 4}));
}

TEST(Statistics, WhoLostRunsRanksLast) {
  const std::vector<Standing> standings{
      {.finished = 1, .diverged = 2, .mean = 0.1},           // the best mean, but two runs lost
      {.finished = 0, .diverged = 3, .mean = std::nan("")},  // nothing finished
      {.finished = 3, .mean = 5},                            // whole
      {.finished = 2, .diverged = 1, .mean = 9},             // one lost
      {.finished = 0, .failed = 3, .mean = std::nan("")},    // never started
      {.finished = 3, .mean = 4},                            // whole
      {.finished = 2, .failed = 1, .mean = 8},               // one lost
      {.finished = 0, .diverged = 1, .failed = 2, .mean = std::nan("")}};
  EXPECT_EQ(ranks(standings, false), (Ranks{5, 6, 2, 4, std::nullopt, 1, 3, 6}));
}

}  // namespace statistics_test
}  // namespace bilevel
