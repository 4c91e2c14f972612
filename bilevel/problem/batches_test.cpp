#include "bilevel/problem/batches.h"

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "bilevel/core/error.h"
#include "tests/support.h"
#include "tests/unbiased.h"

namespace bilevel {
namespace batches_test {

at::Generator generator(uint64_t seed) { return at::make_generator<at::CPUGeneratorImpl>(seed); }

/// A data set of which nothing is known but the numbers of its rows.
std::shared_ptr<const DataSet> rows_alone() {
  return std::make_shared<DataSet>(
      DataSet{.inputs = [](const Rows&) { return std::vector<torch::Tensor>(); }});
}

Rows range(int64_t from, int64_t to) {
  Rows rows(static_cast<size_t>(to - from));
  std::iota(rows.begin(), rows.end(), from);
  return rows;
}

Rows sorted(Rows rows) {
  std::ranges::sort(rows);
  return rows;
}

/// Rows of `count` batches, one after the other.
Rows draw(Sampler& sampler, int count) {
  Rows all;
  for (int i = 0; i < count; ++i) {
    const Batch batch = sampler.next();
    all.insert(all.end(), batch.rows().begin(), batch.rows().end());
  }
  return all;
}

TEST(Batch, AccessIsCheckedAndMovingKeepsRows) {
  const Batch batch({torch::ones({2, 3})}, {}, {4, 9});
  EXPECT_EQ(batch.size(), 2);
  EXPECT_EQ(batch.input().size(1), 3);
  EXPECT_FALSE(batch.has_targets());
  EXPECT_THROW(batch.targets(), InputError);
  EXPECT_TRUE(batch.numbers().equal(torch::tensor({4, 9}, torch::kInt64)));
  EXPECT_THROW(batch.input(1), std::out_of_range);
  const Batch moved = batch.to(torch::kCPU);
  EXPECT_EQ(moved.rows(), batch.rows());
  EXPECT_TRUE(moved.input().is_same(batch.input())) << "nothing is copied where nothing moves";
}

/// A data set over ten rows that counts how often it is asked.
struct Counting {
  torch::Tensor x = torch::arange(10, torch::kFloat64).unsqueeze(1),
                y = 10 * torch::arange(10, torch::kFloat64);
  int inputs = 0, targets = 0;

  std::shared_ptr<const DataSet> data() {
    return std::make_shared<DataSet>(DataSet{.inputs =
                                                 [this](const Rows& rows) {
                                                   ++inputs;
                                                   return std::vector{x.index_select(0, torch::tensor(rows))};
                                                 },
                                             .targets =
                                                 [this](const Rows& rows) {
                                                   ++targets;
                                                   return y.index_select(0, torch::tensor(rows));
                                                 }});
  }
};

TEST(Batch, IsGatheredWhenAskedAndOnce) {
  Counting counting;
  const Batch batch = Batch(counting.data(), {3, 1}).to(torch::kCPU);
  const Batch copy = batch;
  EXPECT_EQ(counting.inputs + counting.targets, 0);
  EXPECT_TRUE(copy.targets().equal(torch::tensor({30.0, 10.0}, torch::kFloat64)));
  EXPECT_EQ(counting.inputs, 0) << "whoever reads the targets alone gathers no inputs";
  EXPECT_TRUE(batch.input().equal(torch::tensor({{3.0}, {1.0}}, torch::kFloat64)));
  batch.targets();
  copy.input();
  EXPECT_EQ(counting.inputs, 1);
  EXPECT_EQ(counting.targets, 1);
}

TEST(Batch, OfOneDataSetAreJoinedByOneGather) {
  Counting counting;
  const std::shared_ptr<const DataSet> data = counting.data();
  const std::optional<Batch> joined = Batch::joined(Batch(data, {3, 1}), Batch(data, {1, 7, 0}));
  ASSERT_TRUE(joined);
  EXPECT_EQ(joined->rows(), (Rows{3, 1, 1, 7, 0}));
  EXPECT_TRUE(joined->targets().equal(torch::tensor({30., 10., 10., 70., 0.}, torch::kFloat64)));
  joined->input();
  EXPECT_EQ(counting.inputs, 1);
}

TEST(Batch, OfTwoDataSetsAreJoinedWhereTheirShapesAllow) {
  const Batch a({torch::ones({2, 3})}, torch::zeros({2}), {0, 1});
  const Batch b({torch::zeros({1, 3})}, torch::ones({1}), {0});
  const std::optional<Batch> joined = Batch::joined(a, b);
  ASSERT_TRUE(joined);
  EXPECT_TRUE(joined->input().equal(torch::cat({torch::ones({2, 3}), torch::zeros({1, 3})})));
  EXPECT_TRUE(joined->targets().equal(torch::tensor({0.0f, 0.0f, 1.0f})));
  EXPECT_FALSE(Batch::joined(a, Batch({torch::zeros({1, 4})}, {}, {0})));
  EXPECT_FALSE(Batch::joined(a, Batch({torch::zeros({1, 3}, torch::kFloat64)}, {}, {0})));
  EXPECT_FALSE(Batch::joined(a, Batch(std::vector<torch::Tensor>(), torch::Tensor(), {0})));
  EXPECT_FALSE(Batch::joined(a, Batch({torch::zeros({2, 3})}, {}, {0}))) << "not one row for each number";
}

TEST(Batch, ItemsMayStandForSeveralRows) {
  Counting counting;
  const auto three = [](const Rows& items) {
    Rows rows;
    for (const int64_t item : items) rows.insert(rows.end(), {item, item + 1, item + 2});
    return rows;
  };
  const BatchSource source(counting.data(), {0, 3, 6}, {.batch_size = 2}, {}, three);
  EXPECT_EQ(source.size(), 3);
  EXPECT_EQ(source.batch_size(), 2);
  const Batch batch = source.gather({6, 0});
  EXPECT_EQ(batch.items(), (Rows{6, 0}));
  EXPECT_EQ(batch.rows(), (Rows{6, 7, 8, 0, 1, 2}));
  EXPECT_EQ(batch.size(), 6);
  EXPECT_EQ(batch.input().size(0), 6);
  EXPECT_EQ(batch.share(1, 2).rows(), (Rows{0, 1, 2}));
  EXPECT_CONTAINS(message_of<InputError>([&] {
                    BatchSource(counting.data(), {0, 3}, {.batch_size = 1}, {0, 1}, three);
                  }),
                  "classes of rows");
}

TEST(Batch, TheSharesLossesHaveTheBatchsAsTheirMean) {
  Counting counting;
  const torch::Tensor weights = torch::tensor({0.5, 2.0, 1.0, 1.5, 0.25}, torch::kFloat64);
  const Batch batch(counting.data(), {4, 2, 9, 0, 7}, nullptr, weights);
  const auto loss = [](const Batch& b) {
    return weighted_mean(b.input().squeeze(1).exp() + b.targets(), b.weights()).item<double>();
  };
  double mean = 0;
  Rows seen;
  for (int64_t part = 0; part < 3; ++part) {
    const Batch share = batch.share(part, 3);
    mean += loss(share) * static_cast<double>(share.size()) / 5;
    seen.insert(seen.end(), share.rows().begin(), share.rows().end());
  }
  EXPECT_EQ(sorted(seen), sorted(batch.rows()));
  EXPECT_NEAR(mean, loss(batch), 1e-12 * std::abs(mean));
  EXPECT_CONTAINS(message_of<InputError>([&] { batch.share(3, 3); }), "share 3 of 3");
}

TEST(Shuffled, CoversEveryRowOnceBeforeAnyTwice) {
  const torch::Tensor data = torch::arange(100, 112, torch::kFloat64).unsqueeze(1);
  Sampler sampler(shuffled({data}, data * 2, {.batch_size = 4}), generator(1));
  Rows first_epoch;
  for (int epoch = 0; epoch < 3; ++epoch) {
    const Rows rows = draw(sampler, 3);
    EXPECT_EQ(sorted(rows), range(0, 12));
    if (epoch == 0) {
      first_epoch = rows;
    } else {
      EXPECT_NE(rows, first_epoch) << "every epoch has its own order";
    }
  }
  const Batch batch = sampler.next();
  const torch::Tensor expected = 100.0 + batch.numbers().to(torch::kFloat64).unsqueeze(1);
  EXPECT_TRUE(batch.input().equal(expected));
  EXPECT_TRUE(batch.targets().equal(2 * expected));
}

TEST(Shuffled, ABatchThatMeetsTheEndIsCompleted) {
  Sampler sampler(shuffled({torch::zeros({5})}, {.batch_size = 3}), generator(2));
  Rows all;
  for (int i = 0; i < 5; ++i) {
    const Batch batch = sampler.next();
    EXPECT_EQ(batch.size(), 3);
    all.insert(all.end(), batch.rows().begin(), batch.rows().end());
  }
  for (int epoch = 0; epoch < 3; ++epoch) {
    EXPECT_EQ(sorted(Rows(all.begin() + 5 * epoch, all.begin() + 5 * (epoch + 1))), range(0, 5));
  }
}

TEST(Shuffled, TheOrderDependsOnTheGeneratorAlone) {
  const BatchSource source = shuffled({torch::zeros({50})}, {.batch_size = 7});
  Sampler a(source, generator(3)), b(source, generator(3)), c(source, generator(4));
  const Rows rows = draw(a, 20);
  EXPECT_EQ(draw(b, 20), rows);
  EXPECT_NE(draw(c, 20), rows);
}

TEST(Shuffled, WithReplacementIsUniformAndMayExceedTheData) {
  const BatchSource source = shuffled({torch::zeros({4})}, {.batch_size = 10, .with_replacement = true});
  EXPECT_EQ(source.batch_size(), 10);
  EXPECT_FALSE(source.full_batch());
  Sampler sampler(source, generator(5));
  std::vector<int64_t> counts(4);
  const int draws = 2000;
  for (int64_t row : draw(sampler, draws)) ++counts[static_cast<size_t>(row)];
  // A count is binomial(20000, 1/4): standard deviation 61; four of them, each within 4.5.
  for (const int64_t count : counts) EXPECT_NEAR(static_cast<double>(count), 5000, 4.5 * 61.3);
}

TEST(FullBatch, IsAllRowsInOrderWithoutACopy) {
  const torch::Tensor data = torch::rand({6, 2});
  for (const BatchSource& source : {full_batch({data}), shuffled({data}, {.batch_size = 99})}) {
    EXPECT_TRUE(source.full_batch());
    EXPECT_EQ(source.batch_size(), 6);
    Sampler sampler(source, generator(6));
    for (int i = 0; i < 2; ++i) {
      const Batch batch = sampler.next();
      EXPECT_EQ(batch.rows(), range(0, 6));
      EXPECT_TRUE(batch.input().is_same(data));
    }
    EXPECT_EQ(source.all().rows(), range(0, 6));
  }
}

TEST(NoData, IsOneRowWithoutTensors) {
  Sampler sampler(no_data(), generator(7));
  const Batch batch = sampler.next();
  EXPECT_EQ(batch.size(), 1);
  EXPECT_TRUE(batch.inputs().empty());
  EXPECT_TRUE(no_data().full_batch());
}

TEST(BatchSource, RowNumbersAreTheCallers) {
  const Rows rows{10, 20, 30};
  const BatchSource source(rows_alone(), rows, {.batch_size = 2});
  EXPECT_EQ(source.size(), 3);
  EXPECT_EQ(source.all().rows(), rows);
  EXPECT_EQ(source.gather({20}).rows(), Rows{20});
  Sampler sampler(source, generator(8));
  EXPECT_EQ(sorted(draw(sampler, 3)), (Rows{10, 10, 20, 20, 30, 30}));
}

TEST(BatchSource, RefusesWhatHasNoBatches) {
  EXPECT_CONTAINS(message_of<InputError>([] { shuffled(std::vector<torch::Tensor>()); }),
                  "at least one tensor");
  EXPECT_CONTAINS(message_of<InputError>([] { full_batch(std::vector<torch::Tensor>()); }),
                  "at least one tensor");
  EXPECT_CONTAINS(message_of<InputError>([] { shuffled({torch::zeros({0, 3})}); }), "at least one row");
  EXPECT_CONTAINS(message_of<InputError>([] { shuffled({torch::zeros({3})}, torch::zeros({4})); }), "share");
  EXPECT_CONTAINS(message_of<InputError>([] { shuffled({torch::zeros({3}), torch::zeros({4})}); }), "share");
  EXPECT_CONTAINS(message_of<InputError>([] { full_batch({torch::tensor(1.0)}); }), "share");
  EXPECT_CONTAINS(message_of<InputError>([] { shuffled({torch::zeros({3})}, {.batch_size = 0}); }),
                  "batch_size = 0: must be >= 1");
  EXPECT_CONTAINS(message_of<InputError>([] {
                    BatchSource(rows_alone(), {1, 2}, {.batch_size = 1}, {0});
                  }),
                  "one class for each row");
  EXPECT_CONTAINS(message_of<InputError>([] {
                    BatchSource(rows_alone(), {1, 2}, {.batch_size = 1}, {0, -1});
                  }),
                  "start at 0");
  EXPECT_FALSE(BatchSource());
}

/// A source whose rows 0, 1, ... carry the classes 0 (sizes[0] times), 1 (sizes[1] times), ...
BatchSource stratified(const std::vector<int64_t>& sizes, const SamplingOptions& options) {
  Rows classes;
  for (size_t k = 0; k < sizes.size(); ++k) {
    classes.insert(classes.end(), static_cast<size_t>(sizes[k]), static_cast<int64_t>(k));
  }
  return BatchSource(rows_alone(), range(0, static_cast<int64_t>(classes.size())), options, classes);
}

/// Rows of each class in a batch of such a source.
std::vector<int64_t> class_counts(const Rows& rows, const std::vector<int64_t>& sizes) {
  std::vector<int64_t> counts(sizes.size());
  for (const int64_t row : rows) {
    size_t k = 0;
    for (int64_t end = sizes[0]; row >= end; end += sizes[k]) ++k;
    ++counts[k];
  }
  return counts;
}

class Stratified : public ::testing::TestWithParam<std::pair<std::vector<int64_t>, int64_t>> {};

TEST_P(Stratified, SharesAreExactOverTime) {
  const auto& [sizes, batch_size] = GetParam();
  const auto rows = static_cast<double>(std::accumulate(sizes.begin(), sizes.end(), int64_t{0}));
  for (const bool with_replacement : {false, true}) {
    Sampler sampler(stratified(sizes, {.batch_size = batch_size, .with_replacement = with_replacement}),
                    generator(9));
    std::vector<int64_t> sums(sizes.size());
    for (int t = 1; t <= 500; ++t) {
      const Batch batch = sampler.next();
      ASSERT_EQ(batch.size(), batch_size);
      const auto counts = class_counts(batch.rows(), sizes);
      for (size_t k = 0; k < sizes.size(); ++k) {
        sums[k] += counts[k];
        const double share = static_cast<double>(batch_size * sizes[k]) / rows;
        ASSERT_LT(std::abs(static_cast<double>(sums[k]) - t * share), 1.5)
            << "class " << k << ", batch " << t;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(ClassesOfAtLeastOneRow, Stratified,
                         ::testing::Values(std::pair{std::vector<int64_t>{50, 50}, 7},
                                           std::pair{std::vector<int64_t>{90, 10}, 32},
                                           std::pair{std::vector<int64_t>{61, 23, 16}, 10},
                                           // More classes than rows in a batch.
                                           std::pair{std::vector<int64_t>{40, 9, 8, 7, 6, 5}, 2},
                                           std::pair{std::vector<int64_t>{1, 1, 1, 1, 1, 30}, 3},
                                           std::pair{std::vector<int64_t>{10, 20, 30}, 1}));

TEST(Stratified, ARareClassHasOneRowInEveryBatchAndTheOthersShareTheRest) {
  const std::vector<int64_t> sizes{600, 390, 10};
  Sampler sampler(stratified(sizes, {.batch_size = 21}), generator(10));
  std::vector<int64_t> sums(3);
  const int batches = 3300;
  for (int t = 0; t < batches; ++t) {
    const auto counts = class_counts(sampler.next().rows(), sizes);
    EXPECT_EQ(counts[2], 1);
    for (size_t k = 0; k < 3; ++k) sums[k] += counts[k];
  }
  EXPECT_NEAR(static_cast<double>(sums[0]), batches * 20 * 600.0 / 990, 1.5);
  EXPECT_NEAR(static_cast<double>(sums[1]), batches * 20 * 390.0 / 990, 1.5);
}

// The expectation of every batch's loss, over time, is the loss on all rows, although a rare class has more rows in
// the batches than in the data.
TEST(Stratified, OverWholeCyclesTheMeanOfTheBatchesIsThatOfAllRows) {
  const std::vector<std::pair<std::vector<int64_t>, std::vector<int64_t>>> cases{
      {{996, 4}, {2, 8, 15, 100, 250}},  // .4 %: below one row a batch up to 249
      {{9, 1}, {2, 3, 7}},
      {{600, 390, 10}, {3, 21, 32, 100}},      // varying counts of the two large classes
      {{700, 5, 3, 2}, {4, 9, 64}},            // several rare classes
      {{40, 9, 8, 7, 6, 5}, {1, 2, 5, 6, 7}},  // fewer rows than classes, and just enough
      {{16, 3, 1}, {7}},                       // one rare class makes another
      {{50, 45, 4, 1}, {5, 20}},
      {{61, 23, 16}, {10}},  // in proportion
  };
  for (const auto& [sizes, batch_sizes] : cases) {
    std::vector<int64_t> classes;
    for (size_t k = 0; k < sizes.size(); ++k)
      classes.insert(classes.end(), static_cast<size_t>(sizes[k]), static_cast<int64_t>(k));
    const auto n = static_cast<int64_t>(classes.size());
    const torch::Tensor features = torch::randn({n, 2}, generator(21), torch::kFloat64);
    const torch::Tensor x = torch::tensor({0.7, -1.1}, torch::kFloat64).requires_grad_();
    const torch::Tensor class_of = torch::tensor(classes);
    const std::shared_ptr<const DataSet> data = data_set({features});
    for (const int64_t batch_size : batch_sizes) {
      SCOPED_TRACE(testing::Message()
                   << sizes.size() << " classes of " << n << " rows, batches of " << batch_size);
      const BatchSource source(data, range(0, n), {.batch_size = batch_size}, classes);
      const Level level{.parameters = {x},
                        .loss =
                            [&](const Batch& b) {
                              return weighted_mean(torch::softplus(b.input().matmul(x)).square(),
                                                   b.weights());
                            },
                        .batches = source};
      expect_unbiased({.upper = level, .lower = {}}, level, batches_of_a_cycle(sizes, batch_size));

      // With replacement a row's expected weight is the same for all rows.
      Sampler sampler(
          BatchSource(data, range(0, n), {.batch_size = batch_size, .with_replacement = true}, classes),
          generator(22));
      torch::Tensor sums = torch::zeros({static_cast<int64_t>(sizes.size())}, torch::kFloat64);
      const int64_t cycle = batches_of_a_cycle(sizes, batch_size);
      for (int64_t t = 0; t < cycle; ++t) {
        const Batch batch = sampler.next();
        const torch::Tensor weights =
            batch.weights().defined() ? batch.weights() : torch::ones({batch_size}, torch::kFloat64);
        sums += torch::bincount(class_of.index_select(0, batch.numbers()), weights, sums.numel());
      }
      for (size_t k = 0; k < sizes.size(); ++k) {
        EXPECT_NEAR(sums[static_cast<int64_t>(k)].item<double>() / static_cast<double>(cycle * batch_size),
                    static_cast<double>(sizes[k]) / static_cast<double>(n), 1e-12);
      }
    }
  }
}

TEST(Stratified, AWeightIsTheShareInTheDataByThatInTheBatches) {
  Sampler sampler(stratified({600, 390, 10}, {.batch_size = 21}), generator(23));
  const Batch batch = sampler.next();
  ASSERT_EQ(batch.weights().sizes(), torch::IntArrayRef({21}));
  EXPECT_EQ(batch.weights().scalar_type(), torch::kFloat64);
  for (int64_t i = 0; i < 21; ++i) {
    const bool rare = batch.rows()[static_cast<size_t>(i)] >= 990;
    EXPECT_NEAR(batch.weights()[i].item<double>(), rare ? 0.01 / (1 / 21.0) : 0.99 / (20 / 21.0), 1e-15);
  }
  EXPECT_TRUE(batch.to(torch::kCPU).weights().is_same(batch.weights()));
}

TEST(Stratified, BatchesInProportionHaveNoWeights) {
  for (const auto& [sizes, batch_size] :
       std::vector<std::pair<std::vector<int64_t>, int64_t>>{{{90, 10}, 32},
                                                             {{48, 1}, 49},
                                                             {{480, 10}, 49},
                                                             {{61, 23, 16}, 10},
                                                             {{40, 9, 8, 7, 6, 5}, 2},
                                                             {{996, 4}, 2000}}) {
    Sampler sampler(stratified(sizes, {.batch_size = batch_size}), generator(24));
    EXPECT_FALSE(sampler.next().weights().defined()) << sizes[0] << ", batches of " << batch_size;
  }
  Sampler sampler(shuffled({torch::zeros({9})}, {.batch_size = 2}), generator(25));
  EXPECT_FALSE(sampler.next().weights().defined());
}

TEST(WeightedMean, DividesByTheNumberOfRows) {
  const torch::Tensor values = torch::tensor({1.0f, 2.0f, 6.0f});
  EXPECT_EQ(weighted_mean(values, {}).item<float>(), 3);
  const torch::Tensor mean = weighted_mean(values, torch::tensor({3.0, 0.0, 0.5}, torch::kFloat64));
  EXPECT_EQ(mean.item<float>(), 2);
  EXPECT_EQ(mean.scalar_type(), torch::kFloat32);
}

TEST(Stratified, EveryClassIsCoveredOnceBeforeAnyRowTwice) {
  const std::vector<int64_t> sizes{12, 4};
  Sampler sampler(stratified(sizes, {.batch_size = 4}), generator(11));
  for (int epoch = 0; epoch < 3; ++epoch) EXPECT_EQ(sorted(draw(sampler, 4)), range(0, 16));
}

TEST(Stratified, ClassNumbersMayHaveHoles) {
  const BatchSource source(rows_alone(), range(0, 6), {.batch_size = 2}, {7, 0, 7, 0, 7, 0});
  Sampler sampler(source, generator(12));
  for (int t = 0; t < 6; ++t) {
    const Rows rows = sampler.next().rows();
    EXPECT_NE(rows[0] % 2, rows[1] % 2) << "one of each class";
  }
}

TEST(Slots, DealEveryRowOnceIntoEqualParts) {
  for (const auto& [rows, batch_size] : {std::pair{12, 4}, {13, 4}, {7, 3}, {5, 1}, {100, 7}}) {
    const BatchSource source(rows_alone(), range(50, 50 + rows), {.batch_size = batch_size});
    at::Generator one = generator(16);
    const std::vector<Rows> slots = source.slots(one);
    ASSERT_EQ(static_cast<int>(slots.size()), (rows + batch_size - 1) / batch_size);
    Rows all;
    for (const Rows& slot : slots) {
      EXPECT_LE(static_cast<int>(slot.size()), batch_size);
      EXPECT_LE(slots[0].size() - slot.size(), 1u) << "sizes differ by at most one row";
      all.insert(all.end(), slot.begin(), slot.end());
    }
    EXPECT_EQ(sorted(all), range(50, 50 + rows));
  }
}

TEST(Slots, FollowFromTheGenerator) {
  const BatchSource source(rows_alone(), range(0, 30), {.batch_size = 4});
  at::Generator one = generator(17), same = generator(17), other = generator(18);
  const std::vector<Rows> slots = source.slots(one);
  EXPECT_EQ(source.slots(same), slots);
  EXPECT_NE(source.slots(other), slots);
}

TEST(Slots, HoldTheClassesInProportion) {
  const std::vector<int64_t> sizes{61, 23, 16};
  const BatchSource source = stratified(sizes, {.batch_size = 10});
  at::Generator one = generator(19);
  const std::vector<Rows> slots = source.slots(one);
  ASSERT_EQ(slots.size(), 10u);
  for (const Rows& slot : slots) {
    const auto counts = class_counts(slot, sizes);
    for (size_t k = 0; k < sizes.size(); ++k) {
      EXPECT_LT(std::abs(static_cast<double>(counts[k]) - static_cast<double>(sizes[k]) / 10), 1)
          << "class " << k;
    }
  }
}

// Each slot counted by its size, as a memory of gradients does: no row needs a weight, however rare its class.
TEST(Slots, MeansBySizeAreThatOfAllRows) {
  const std::vector<int64_t> sizes{995, 3, 2};
  const torch::Tensor values = torch::randn({1000}, generator(26), torch::kFloat64);
  at::Generator one = generator(27);
  double mean = 0;
  for (const Rows& slot : stratified(sizes, {.batch_size = 16}).slots(one)) {
    const double share = static_cast<double>(slot.size()) / 1000;
    mean += share * values.index_select(0, torch::tensor(slot)).mean().item<double>();
  }
  EXPECT_NEAR(mean, values.mean().item<double>(), 1e-15);
}

TEST(Slots, AFullBatchIsTheOnlySlotInItsOrder) {
  at::Generator one = generator(20);
  EXPECT_EQ(full_batch({torch::zeros({6})}).slots(one), std::vector<Rows>{range(0, 6)});
  EXPECT_EQ(no_data().slots(one).size(), 1u);
}

class SamplerState : public ::testing::TestWithParam<int> {};

TEST_P(SamplerState, ContinuesExactlyFromEveryPosition) {
  const std::vector<BatchSource> sources{
      shuffled({torch::zeros({7})}, {.batch_size = 3}),
      shuffled({torch::zeros({7})}, {.batch_size = 3, .with_replacement = true}),
      full_batch({torch::zeros({7})}),
      stratified({5, 2}, {.batch_size = 3}),
  };
  for (const BatchSource& source : sources) {
    at::Generator original = generator(13);
    Sampler sampler(source, original);
    draw(sampler, GetParam());
    State saved;
    sampler.state(saved);
    const torch::Tensor generator_state = original.get_state();
    const Rows expected = draw(sampler, 9);

    at::Generator other = generator(14);
    Sampler restored(source, other);
    draw(restored, 2);
    State loading(saved.tensors());
    restored.state(loading);
    other.set_state(generator_state);
    EXPECT_EQ(draw(restored, 9), expected);
  }
}

INSTANTIATE_TEST_SUITE_P(Positions, SamplerState, ::testing::Range(0, 8));

TEST(SamplerState, ThatOfOtherDataIsRefused) {
  Sampler large(shuffled({torch::zeros({9})}, {.batch_size = 2}), generator(15));
  large.next();
  State saved;
  large.state(saved);
  Sampler small(shuffled({torch::zeros({5})}, {.batch_size = 2}), generator(15));
  State loading(saved.tensors());
  EXPECT_CONTAINS(message_of<FileError>([&] { small.state(loading); }),
                  "come from 9 rows, this problem's from 5");
}

TEST(BatchSource, OfSomebodyElsesBatchesGoesOnButNotBack) {
  int made = 0;
  const BatchSource source([&made] { return Batch({torch::full({2}, ++made)}, {}, {0, 1}); });
  EXPECT_TRUE(source);
  EXPECT_FALSE(source.draws_again());
  EXPECT_FALSE(source.full_batch());
  Sampler one(source, generator(1)), other(source, generator(1));
  EXPECT_EQ(one.next().input()[0].item<int>(), 1);
  EXPECT_EQ(other.next().input()[0].item<int>(), 2);
  at::Generator any = generator(2);
  State state;
  for (const std::function<void()>& refused : std::vector<std::function<void()>>{
           [&] { source.all(); }, [&] { source.slots(any); }, [&] { one.state(state); }}) {
    EXPECT_CONTAINS(message_of<InputError>(refused), "come from an iterator, which cannot go back");
  }
  EXPECT_EQ(one.next().input()[0].item<int>(), 3);
}

}  // namespace batches_test
}  // namespace bilevel
