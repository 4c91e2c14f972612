#include "bilevel/data/split.h"

#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "bilevel/core/error.h"
#include "tests/files.h"
#include "tests/support.h"

namespace bilevel {
namespace {

struct Data {
  std::vector<int64_t> rows;
  std::vector<int64_t> labels;
};

// Every `every`-th of `count` rows is positive; the rows are numbered from 10.
Data make(int64_t count, int64_t every) {
  Data data;
  data.labels.assign(10, 0);
  for (int64_t i = 0; i < count; ++i) {
    data.rows.push_back(10 + i);
    data.labels.push_back(i % every == 0 ? 1 : 0);
  }
  return data;
}

int64_t positives(const std::vector<int64_t>& rows, const Data& data) {
  return std::count_if(rows.begin(), rows.end(),
                       [&](int64_t row) { return data.labels[static_cast<size_t>(row)] == 1; });
}

at::Generator seeded(uint64_t seed) { return at::make_generator<at::CPUGeneratorImpl>(seed); }

TEST(Split, IsStratifiedAndComplete) {
  const Data data = make(1000, 10);
  at::Generator generator = seeded(1);
  const auto parts = stratified_split(data.rows, data.labels, {0.7, 0.2, 0.1}, generator);
  ASSERT_EQ(parts.size(), 3U);
  EXPECT_EQ(parts[0].size(), 700U);
  EXPECT_EQ(parts[1].size(), 200U);
  EXPECT_EQ(parts[2].size(), 100U);
  EXPECT_EQ(positives(parts[0], data), 70);
  EXPECT_EQ(positives(parts[1], data), 20);
  EXPECT_EQ(positives(parts[2], data), 10);
  std::set<int64_t> all;
  for (const auto& part : parts) {
    EXPECT_TRUE(std::is_sorted(part.begin(), part.end()));
    all.insert(part.begin(), part.end());
  }
  EXPECT_EQ(all, std::set<int64_t>(data.rows.begin(), data.rows.end()));
}

/// Whether no unit has rows in two parts.
bool whole(const std::vector<std::vector<int64_t>>& parts, const std::vector<int64_t>& unit_of) {
  std::map<int64_t, size_t> part_of;
  for (size_t part = 0; part < parts.size(); ++part) {
    for (const int64_t row : parts[part]) {
      if (part_of.emplace(unit_of[static_cast<size_t>(row)], part).first->second != part) return false;
    }
  }
  return true;
}

TEST(Split, KeepsUnitsWhole) {
  const Data data = make(1000, 10);
  std::vector<int64_t> unit_of(1010);
  for (int64_t row = 0; row < 1010; ++row) {
    // A unit of 150, one of 40, pairs, and rows by themselves.
    unit_of[static_cast<size_t>(row)] = row < 160 ? 0 : row < 200 ? 1 : row < 600 ? row / 2 : row;
  }
  for (uint64_t seed = 0; seed < 5; ++seed) {
    at::Generator generator = seeded(seed);
    const auto parts = stratified_split(data.rows, data.labels, {0.7, 0.2, 0.1}, generator, {}, unit_of);
    EXPECT_TRUE(whole(parts, unit_of));
    const std::vector<double> expected{700, 200, 100};
    for (size_t part = 0; part < 3; ++part) {
      EXPECT_NEAR(static_cast<double>(parts[part].size()), expected[part], 2)
          << "pairs may stand out by a row";
      EXPECT_GT(positives(parts[part], data), 0);
    }
    EXPECT_EQ(parts[0].size() + parts[1].size() + parts[2].size(), 1000U);
    at::Generator again = seeded(seed), alone = seeded(seed);
    std::vector<int64_t> own(1010);
    std::iota(own.begin(), own.end(), 0);
    EXPECT_EQ(stratified_split(data.rows, data.labels, {0.7, 0.3}, again, {}, own),
              stratified_split(data.rows, data.labels, {0.7, 0.3}, alone));
  }
}

TEST(Split, AFewRowsThatStayTogetherHardlyChangeIt) {
  const Data data = make(1000, 10);
  std::vector<int64_t> unit_of(1010);
  std::iota(unit_of.begin(), unit_of.end(), 0);
  unit_of[501] = 502;
  at::Generator one = seeded(7), other = seeded(7);
  const auto with = stratified_split(data.rows, data.labels, {0.8, 0.2}, one, {}, unit_of),
             without = stratified_split(data.rows, data.labels, {0.8, 0.2}, other);
  std::vector<int64_t> changed;
  std::ranges::set_difference(with[1], without[1], std::back_inserter(changed));
  EXPECT_LE(changed.size(), 3U);
}

TEST(Split, GivesEveryPartAUnitOfEachClass) {
  // Two large units and a row make three parts possible, whatever their sizes.
  const std::vector<int64_t> rows{0, 1, 2, 3, 4, 5, 6}, labels(7, 0), unit_of{0, 0, 0, 1, 1, 1, 2};
  at::Generator generator = seeded(1);
  const auto parts = stratified_split(rows, labels, {0.8, 0.1, 0.1}, generator, {}, unit_of);
  for (const auto& part : parts) EXPECT_FALSE(part.empty());
  EXPECT_TRUE(whole(parts, unit_of));
  const std::vector<int64_t> two{0, 0, 0, 1, 1, 1, 1};
  EXPECT_CONTAINS(message_of<InputError>([&] {
                    stratified_split(rows, labels, {0.8, 0.1, 0.1}, generator, {"ham"}, two);
                  }),
                  "class 'ham' has only 2 rows or groups of rows that stay together");
}

TEST(Folds, AreOfEqualSizeAndKeepUnitsWhole) {
  std::vector<int64_t> rows(100), unit_of(100);
  std::iota(rows.begin(), rows.end(), 0);
  for (size_t i = 0; i < 100; ++i) unit_of[i] = static_cast<int64_t>(i < 20 ? 0 : i < 40 ? i / 2 : i);
  at::Generator generator = seeded(2);
  const std::vector<int64_t> fold_of = draw_folds(rows, 4, generator, unit_of);
  for (int64_t fold = 0; fold < 4; ++fold) EXPECT_EQ(std::ranges::count(fold_of, fold), 25);
  for (size_t i = 0; i < 40; ++i) {
    const size_t first = i < 20 ? 0 : i / 2 * 2;
    EXPECT_EQ(fold_of[i], fold_of[first]);
  }
}

TEST(OrderedSplit, FollowsTheValues) {
  const std::vector<int64_t> rows{0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  const std::vector<double> time{9, 8, 7, 6, 5, 4, 3, 2, 1, 0};
  using Parts = std::vector<std::vector<int64_t>>;
  EXPECT_EQ(ordered_split(rows, time, {0.6, 0.2, 0.2}), (Parts{{4, 5, 6, 7, 8, 9}, {2, 3}, {0, 1}}));
  // Rows of one time, and units, stay together.
  const std::vector<double> days{0, 0, 0, 0, 0, 0, 0, 1, 2, 3};
  EXPECT_EQ(ordered_split(rows, days, {0.6, 0.2, 0.2}), (Parts{{0, 1, 2, 3, 4, 5, 6}, {7, 8}, {9}}));
  EXPECT_EQ(ordered_split(rows, time, {0.5, 0.5}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 0}),
            (Parts{{4, 5, 6, 7, 8}, {0, 1, 2, 3, 9}}));
  EXPECT_THROW(ordered_split(rows, std::vector<double>(10, 1), {0.5, 0.5}), InputError);
  EXPECT_THROW(ordered_split({0}, {1}, {0.5, 0.5}), InputError);
}

TEST(Split, DependsOnTheGeneratorAlone) {
  const Data data = make(100, 4);
  at::Generator a = seeded(1);
  at::Generator b = seeded(1);
  at::Generator c = seeded(2);
  const auto first = stratified_split(data.rows, data.labels, {0.5, 0.5}, a);
  EXPECT_EQ(first, stratified_split(data.rows, data.labels, {0.5, 0.5}, b));
  EXPECT_NE(first, stratified_split(data.rows, data.labels, {0.5, 0.5}, c));
  EXPECT_NE(first[0].back(), data.rows[49]);  // not simply the first half
}

TEST(Split, RoundsByTheLargestRemainder) {
  const Data data = make(11, 100);  // 1 positive, 10 negative
  at::Generator generator = seeded(1);
  const Data negatives{{11, 12, 13, 14, 15, 16, 17}, data.labels};
  const auto parts =
      stratified_split(negatives.rows, negatives.labels, {0.5, 0.3, 0.2}, generator);  // 3.5, 2.1, 1.4
  EXPECT_EQ(parts[0].size(), 4U);
  EXPECT_EQ(parts[1].size(), 2U);
  EXPECT_EQ(parts[2].size(), 1U);
}

TEST(Split, EveryPartGetsEveryClass) {
  const Data data = make(300, 100);  // 3 positive
  at::Generator generator = seeded(1);
  const auto parts = stratified_split(data.rows, data.labels, {0.98, 0.01, 0.01}, generator);
  for (const auto& part : parts) EXPECT_EQ(positives(part, data), 1);
  EXPECT_EQ(input_error([&] {
              stratified_split(data.rows, data.labels, {0.25, 0.25, 0.25, 0.25}, generator);
            }),
            "class 1 has only 3 rows, too few for a split into 4 parts");
}

TEST(Split, EveryPartGetsEveryClassOfUnits) {
  // Groups of five, with one row of class 1 in some.
  at::Generator generator = seeded(1);
  std::vector<int64_t> grouped(100), group_of(100), labels(100);
  std::iota(grouped.begin(), grouped.end(), 0);
  for (size_t i = 0; i < 100; ++i) {
    group_of[i] = static_cast<int64_t>(i / 5);
    labels[i] = i % 5 == 0 && i >= 75 ? 1 : 0;
  }
  const auto parts = stratified_split(grouped, labels, {0.2, 0.2, 0.2, 0.2, 0.2}, generator, {}, group_of);
  EXPECT_TRUE(whole(parts, group_of));
  for (const auto& part : parts) {
    EXPECT_EQ(part.size(), 20u);
    EXPECT_EQ(std::ranges::count_if(part, [&](int64_t row) { return labels[static_cast<size_t>(row)] == 1; }),
              1);
  }
  // One of each five rows is of class 1, and one group is of nothing else.
  for (size_t i = 0; i < 100; ++i) labels[i] = i % 5 == 0 || i < 5 ? 1 : 0;
  for (const auto& part : stratified_split(grouped, labels, {0.5, 0.5}, generator, {}, group_of)) {
    EXPECT_GE(std::ranges::count_if(part, [&](int64_t row) { return labels[static_cast<size_t>(row)] == 1; }),
              10);
  }
  // Three groups have some.
  for (size_t i = 0; i < 100; ++i) labels[i] = i % 5 == 0 && i >= 75 && i < 90 ? 1 : 0;
  EXPECT_EQ(input_error([&] {
              stratified_split(grouped, labels, {0.2, 0.2, 0.2, 0.2, 0.2}, generator, {}, group_of);
            }),
            "class 1 has only 3 rows or groups of rows that stay together, too few for a split into 5 parts");
}

TEST(Split, RefusesImpossibleShares) {
  const Data data = make(100, 2);
  at::Generator generator = seeded(1);
  EXPECT_EQ(input_error([&] {
              stratified_split(data.rows, data.labels, {0.5, 0.4}, generator);
            }),
            "the shares of a split add up to 0.9; they must add up to 1");
  EXPECT_NE(input_error([&] { stratified_split(data.rows, data.labels, {1.0, 0.0}, generator); }), "");
  EXPECT_NE(input_error([&] { stratified_split(data.rows, data.labels, {NAN, 1.0}, generator); }), "");
}

TEST(Thin, ReachesTheShareFromBothSides) {
  const Data data = make(1000, 2);
  at::Generator generator = seeded(1);
  const auto fewer = thin(data.rows, data.labels, 0.2, generator);
  EXPECT_EQ(fewer.size(), 625U);
  EXPECT_EQ(positives(fewer, data), 125);
  EXPECT_TRUE(std::is_sorted(fewer.begin(), fewer.end()));
  const auto more = thin(data.rows, data.labels, 0.8, generator);
  EXPECT_EQ(more.size(), 625U);
  EXPECT_EQ(positives(more, data), 500);
  EXPECT_EQ(thin(data.rows, data.labels, 0.5, generator), data.rows);
}

TEST(Thin, RefusesTheImpossible) {
  const Data data = make(100, 2);
  at::Generator generator = seeded(1);
  EXPECT_NE(input_error([&] { thin(data.rows, data.labels, 0.0, generator); }), "");
  EXPECT_NE(input_error([&] { thin(data.rows, data.labels, 1.0, generator); }), "");
  EXPECT_NE(input_error([&] { thin({11, 13}, data.labels, 0.5, generator); }), "");
  EXPECT_EQ(input_error([&] { thin(data.rows, data.labels, 0.001, generator); }),
            "a positive share of 0.001 would leave no positive row of 50 positive and 50 negative ones");
}

}  // namespace
}  // namespace bilevel
