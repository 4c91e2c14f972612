#include "bilevel/task/clean/weighted_fit.h"

#include <gtest/gtest.h>
#include <torch/autograd.h>
#include <torch/types.h>

#include <algorithm>
#include <numeric>

#include "bilevel/core/streams.h"
#include "bilevel/task/clean/clean_model.h"
#include "bilevel/task/job/linear_classifier.h"
#include "bilevel/task/job/seeded_network.h"
#include "bilevel/task/job/shared_columns.h"

namespace bilevel {
namespace weighted_fit_test {

constexpr int64_t kRows = 60, kWidth = 4, kClasses = 3;

struct Data {
  FittedInputs inputs;
  torch::Tensor classes;
  std::vector<int64_t> rows;
};

Data make_data() {
  const DefaultGeneratorScope randomness(8);
  Data data;
  const torch::Tensor x = torch::randn({kRows, kWidth});
  data.classes = (x.narrow(1, 0, kClasses) + 0.7 * torch::randn({kRows, kClasses})).argmax(1);
  data.inputs = {Inputs::dense(x), {.kind = InputKind::dense, .width = kWidth}};
  data.rows.resize(kRows);
  std::iota(data.rows.begin(), data.rows.end(), 0);
  return data;
}

WeightedFitOptions options_of(const std::string& encoder) {
  WeightedFitOptions options{.network = {.encoder = encoder, .outputs = kClasses}, .l2 = {0.5}, .seed = 3};
  if (encoder == "mlp") {
    options.network.set = {{"hidden", 8}, {"layers", 1}, {"dropout", 0.2}};
    options.epochs = 60;
    options.step_size = 0.02;
    options.batch_size = 16;
  }
  return options;
}

WeightedRows all_of(const Data& data, float weight = 1) {
  WeightedRows rows;
  rows.add(data.rows, weight);
  return rows;
}

std::vector<torch::Tensor> values_of(const Network& network) {
  std::vector<torch::Tensor> values;
  for (const torch::Tensor& t : network.parameters()) values.push_back(t.detach().clone());
  return values;
}

double distance(const Network& a, const Network& b) {
  double worst = 0;
  const auto x = values_of(a), y = values_of(b);
  for (size_t i = 0; i < x.size(); ++i) worst = std::max(worst, (x[i] - y[i]).abs().max().item<double>());
  return worst;
}

TEST(WeightedFit, OfALinearModelHasNoGradientLeft) {
  const Data data = make_data();
  WeightedRows rows = all_of(data);
  for (size_t i = 0; i < rows.weights.size(); ++i) rows.weights[i] = 0.1F + 0.015F * static_cast<float>(i);
  const auto network = fit_weighted(data.inputs, data.classes, rows, options_of("linear"));
  const auto objective = [&](Network& at) {
    const torch::Tensor losses = losses_of(at, data.inputs.inputs.gather(data.rows), data.classes);
    torch::Tensor sum = (torch::tensor(rows.weights) * losses).sum();
    return sum + 0.25 * at.parameters()[0].square().sum() +
           0.25 * kBiasShare * at.parameters()[1].square().sum();
  };
  const auto gradient_norm = [&](Network& at) {
    double square = 0;
    for (const torch::Tensor& g : torch::autograd::grad({objective(at)}, at.parameters()))
      square += g.square().sum().item<double>();
    return std::sqrt(square);
  };
  const auto start = seeded_network(options_of("linear").network, data.inputs.shape, 3, torch::kCPU);
  EXPECT_LT(gradient_norm(*network), 5e-3 * gradient_norm(*start));  // fits end at 3e-3, see LinearFitOptions
}

TEST(WeightedFit, AWeightCountsLikeCopiesAndZeroLikeAbsence) {
  const Data data = make_data();
  WeightedRows weighted = all_of(data), less = all_of(data);
  weighted.weights[7] = 0;
  less.rows.erase(less.rows.begin() + 7);
  less.weights.erase(less.weights.begin() + 7);
  const WeightedFitOptions options = options_of("linear");
  EXPECT_LT(distance(*fit_weighted(data.inputs, data.classes, weighted, options),
                     *fit_weighted(data.inputs, data.classes, less, options)),
            2e-3);
  // Twice all weights and twice the penalty is the same problem.
  WeightedFitOptions doubled = options;
  doubled.l2 = {2 * options.l2.front()};
  EXPECT_LT(distance(*fit_weighted(data.inputs, data.classes, all_of(data, 2), doubled),
                     *fit_weighted(data.inputs, data.classes, all_of(data), options)),
            2e-3);
  EXPECT_GT(distance(*fit_weighted(data.inputs, data.classes, all_of(data), options),
                     *fit_weighted(data.inputs, data.classes, less, options)),
            5e-3);
}

TEST(WeightedFit, TrainsOtherEncodersAndIsDeterministic) {
  const Data data = make_data();
  const auto first = fit_weighted(data.inputs, data.classes, all_of(data), options_of("mlp"));
  const auto second = fit_weighted(data.inputs, data.classes, all_of(data), options_of("mlp"));
  EXPECT_EQ(distance(*first, *second), 0);
  const torch::Tensor logits = logits_of(*first, data.inputs.inputs, data.rows, torch::kCPU);
  EXPECT_GT(logits.argmax(1).eq(data.classes).to(torch::kFloat64).mean().item<double>(), 0.7);
}

// The residuals of a free intercept's class sum to 0 however strongly the weights are held back.
TEST(WeightedFit, AnInterceptFollowsARareClass) {
  Data data = make_data();
  data.classes =
      (torch::arange(kRows) < 3).to(torch::kInt64) * 2;  // 3 of class 2, 57 of class 0, none of class 1
  WeightedFitOptions options = options_of("linear");
  options.l2 = {100};
  const auto network = fit_weighted(data.inputs, data.classes, all_of(data), options);
  const torch::Tensor p = probabilities_of(*network, data.inputs.inputs, data.rows, torch::kCPU).mean(0);
  EXPECT_NEAR(p[2].item<double>(), 3.0 / kRows, 5e-3);
  EXPECT_LT(p[1].item<double>(), 1e-2);
}

// No label of a fold has an influence on the fold's probabilities; those of the others have.
TEST(OutOfFold, NeverSeesTheLabelsOfTheFold) {
  const Data data = make_data();
  const WeightedRows rows = all_of(data);
  std::vector<int64_t> folds;
  for (int64_t i = 0; i < kRows; ++i) folds.push_back(i * 7 % 4);
  const torch::Tensor before = out_of_fold(data.inputs, data.classes, rows, folds, options_of("linear"));
  torch::Tensor changed = data.classes.clone();
  for (int64_t i = 0; i < kRows; ++i) {
    if (folds[static_cast<size_t>(i)] == 2) changed[i] = (changed[i] + 1) % kClasses;
  }
  const torch::Tensor after = out_of_fold(data.inputs, changed, rows, folds, options_of("linear"));
  for (int64_t i = 0; i < kRows; ++i)
    EXPECT_EQ(torch::equal(before[i], after[i]), folds[static_cast<size_t>(i)] == 2) << i;
  EXPECT_LT((before.sum(1) - 1).abs().max().item<double>(), 1e-5);
}

TEST(WeightedFit, EndsEarlyWhenInterrupted) {
  const Data data = make_data();
  const std::atomic<bool> stop{true};
  for (const std::string encoder : {"linear", "mlp"}) {
    WeightedFitOptions options = options_of(encoder);
    options.interrupt = &stop;
    const auto network = fit_weighted(data.inputs, data.classes, all_of(data), options);
    EXPECT_EQ(distance(*network, *seeded_network(options.network, data.inputs.shape, 3, torch::kCPU)), 0);
  }
}

// Columns 1 and 4 are in two rows, 0 in one of the rows that count, 2 in a row that does not count.
TEST(SharedColumns, KeepWhatTwoRowsHaveAndFindTheWayBack) {
  SparseRowsBuilder builder;
  const auto row = [&](const std::vector<std::pair<int64_t, float>>& entries) {
    for (const auto& [index, value] : entries) builder.add_entry(index, value);
    builder.end_row();
  };
  row({{0, 1.F}, {1, 2.F}});
  row({{1, 3.F}, {4, 4.F}});
  row({{4, 5.F}});
  row({{2, 6.F}, {4, 7.F}});
  row({});
  const FittedInputs inputs{Inputs::sparse(builder.finish(6)), {.kind = InputKind::sparse, .width = 6}};
  const SharedColumns columns(inputs, {0, 1, 2});
  ASSERT_EQ(columns.count(), 2);
  const FittedInputs narrow = columns.apply(inputs);
  EXPECT_EQ(narrow.shape.width, 2);
  const std::vector<torch::Tensor> parts = narrow.inputs.gather({0, 1, 2, 3, 4});
  EXPECT_TRUE(torch::equal(parts[0], torch::tensor(std::vector<int64_t>{0, 0, 1, 1, 1})));
  EXPECT_TRUE(torch::equal(parts[1], torch::tensor({2.F, 3.F, 4.F, 5.F, 7.F})));
  EXPECT_TRUE(torch::equal(parts[2], torch::tensor(std::vector<int64_t>{0, 1, 3, 4, 5, 5})));

  const auto small = make_network({.encoder = "linear", .outputs = 2}, narrow.shape);
  {
    const torch::NoGradGuard no_grad;
    for (torch::Tensor& t : small->parameters()) t.copy_(torch::randn_like(t));
  }
  const auto whole = columns.widen(*small, inputs.shape);
  EXPECT_TRUE(torch::equal(small->forward(narrow.inputs.gather({0, 1, 2, 3, 4})),
                           whole->forward(inputs.inputs.gather({0, 1, 2, 3, 4}))));
  EXPECT_EQ(whole->parameters()[0].abs().sum(1).count_nonzero().item<int64_t>(), 2);
}

}  // namespace weighted_fit_test
}  // namespace bilevel
