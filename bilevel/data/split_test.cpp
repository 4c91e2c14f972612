#include "bilevel/data/split.h"

#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/files.h"

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
