// Cross-fitted models, and strengths that follow from evidence.
#include <gtest/gtest.h>
#include <torch/autograd.h>

#include <cmath>
#include <numeric>

#include "bilevel/core/error.h"
#include "bilevel/core/streams.h"
#include "bilevel/task/tune/tune_evidence.h"
#include "bilevel/task/tune/tune_search.h"
#include "tests/own_derivatives.h"
#include "tests/solved_slope.h"
#include "tests/unbiased.h"

namespace bilevel {
namespace tune_linear_test {

using torch::Tensor;

constexpr int64_t kRows = 48, kWidth = 5, kClasses = 3, kFolds = 3;

/// Known answers are computed in double precision.
class TuneLinearTest : public testing::Test {
 protected:
  TuneLinearTest() { torch::set_default_dtype(caffe2::TypeMeta::Make<double>()); }
  ~TuneLinearTest() override { torch::set_default_dtype(caffe2::TypeMeta::Make<float>()); }
};

/// Features that occur in some rows, of some classes more than of others; row i is in fold i mod 3.
TuneData folded_data() {
  const DefaultGeneratorScope randomness(3);
  TuneData data;
  Tensor x = torch::randn({kRows, kWidth}).abs() + 0.2;
  for (int64_t row = 0; row < kRows; ++row) {
    const int64_t c = (row * row + row / 5) % 7 % kClasses;
    data.classes.push_back(c);
    data.train.push_back(row);
    for (int64_t j = 0; j < kWidth; ++j)
      if ((row * (j + 3) + row / 4) % 5 > (c == j ? 3 : 1) + (j == 4 ? 1 : 0)) x[row][j] = 0;
  }
  data.inputs = Inputs::dense(x * torch::tensor({1.0, 0.5, 2.0, 0.1, 1.0}));
  data.valid = data.train;
  for (int64_t k = 0; k < kFolds; ++k) {
    Fold fold;
    for (const int64_t row : data.train) (row % kFolds == k ? fold.judged : fold.others).push_back(row);
    data.folds.push_back(fold);
  }
  return data;
}

TuneModel model_of(const std::string& kind, const TuneData& data, double l2 = 0.05) {
  return TuneModel({.network = {.encoder = "linear", .outputs = kClasses},
                    .kind = value_named<TuneKind>(kind, "tune"),
                    .l2 = l2,
                    .spread = 1.5,
                    .seed = 2},
                   {.kind = InputKind::dense, .width = kWidth}, data);
}

void move_x(TuneModel& model) {
  const DefaultGeneratorScope randomness(11);
  model.set_x(model.x().detach() + 0.4 * torch::randn_like(model.x()));
}

Inputs compressed(const Inputs& dense) {
  const Tensor x = dense.matrix()[0];
  return Inputs::sparse({.indices = torch::arange(kWidth).repeat({kRows}),
                         .values = x.flatten(),
                         .offsets = torch::arange(kRows + 1) * kWidth,
                         .width = kWidth});
}

TEST_F(TuneLinearTest, TheHypergradientIsTheSlopeOfTheCrossFittedLoss) {
  const TuneData data = folded_data();
  for (const std::string& kind : names_of<TuneKind>()) {
    SCOPED_TRACE(kind);
    TuneModel model = model_of(kind, data);
    EXPECT_EQ(model.models(), kFolds + 1);
    move_x(model);
    Oracles oracles(model.problem(1000), 1);
    const Tensor x = oracles.x().flat().clone();
    const Sample upper = oracles.upper().draw("test"), lower = oracles.lower().draw("test");
    const double here = solved_value(oracles, x, upper, lower);
    // f is the mean loss of rows that their model has not seen, and the prior.
    const double held_out = class_scores(model.held_out(), classes_at(data.classes, data.valid)).loss;
    EXPECT_GE(here, held_out);
    if (kind == "l2") {
      EXPECT_NEAR(here, held_out, 1e-12);
    }
    expect_slope_of_solved(oracles, x, upper, lower, 200);
  }
}

TEST_F(TuneLinearTest, OwnDerivativesAreThoseOfAutograd) {
  for (const bool folded : {true, false}) {
    for (const bool sparse : {false, true}) {
      for (const std::string& kind : names_of<TuneKind>()) {
        SCOPED_TRACE(kind + (sparse ? ", sparse" : "") + (folded ? ", folds" : ""));
        TuneData data = folded_data();
        if (!folded) {
          data.valid = data.folds[0].judged;
          data.train = data.folds[0].others;
          data.folds.clear();
        }
        if (sparse) data.inputs = compressed(data.inputs);
        TuneModel model = model_of(kind, data);
        move_x(model);
        model.set_y(torch::linspace(-0.5, 0.8, model.flat_y().numel()));
        expect_own_derivatives(model.problem(7));
      }
    }
  }
}

TEST_F(TuneLinearTest, BatchesAverageToAllRows) {
  const TuneData data = folded_data();
  std::vector<int64_t> sizes(kClasses, 0);
  for (const int64_t c : data.classes) ++sizes[static_cast<size_t>(c)];
  TuneModel model = model_of("l2-by-evidence", data);
  move_x(model);
  model.set_y(torch::linspace(-0.5, 0.8, model.flat_y().numel()));
  const Problem problem = model.problem(6);
  expect_unbiased(problem, problem.upper, batches_of_a_cycle(sizes, 6));
  expect_unbiased(problem, problem.lower, batches_of_a_cycle(sizes, 6));
}

// Every model is the one that its rows alone give, and the last one predicts. Sparse columns that no row has are left out inside.
TEST_F(TuneLinearTest, TheModelsAreThoseOfTheirRows) {
  for (const bool sparse : {false, true}) {
    SCOPED_TRACE(sparse);
    TuneData data = folded_data();
    if (sparse) {
      data.inputs.matrix()[0].select(1, 2).zero_();
      data.inputs = compressed(data.inputs);
    }
    TuneModel model = model_of("l2", data, 0.02);
    minimize_weights(model, 500, 1e-9);
    const Tensor held_out = model.held_out();
    const auto alone = [&](const std::vector<int64_t>& train) {
      TuneModel one = model_of("l2", {data.inputs, data.classes, train, data.valid}, 0.02);
      minimize_weights(one, 500, 1e-9);
      return one;
    };
    constexpr double kNear = 1e-5;  // where gradients are below 1e-7
    for (const Fold& fold : data.folds) {
      const Tensor expected = alone(fold.others).probabilities(fold.judged);
      const Tensor found = held_out.index_select(0, torch::tensor(fold.judged));
      EXPECT_LT((found - expected).abs().max().item<double>(), kNear);
    }
    TuneModel all = alone(data.train);
    EXPECT_LT((model.probabilities(data.valid) - all.probabilities(data.valid)).abs().max().item<double>(),
              kNear);
    const Tensor found = model.write_network()->parameters()[0],
                 expected = all.write_network()->parameters()[0];
    ASSERT_EQ(found.sizes(), expected.sizes());
    EXPECT_LT((found - expected).abs().max().item<double>(), kNear);
  }
  TuneData data = folded_data();
  data.inputs.matrix()[0].select(1, 2).zero_();
  data.inputs = compressed(data.inputs);
  TuneModel by_evidence = model_of("l2-by-evidence", data, 0.02);
  EXPECT_EQ(by_evidence.strengths().numel(), kWidth);
  EXPECT_FALSE(by_evidence.used_features()[2].item<bool>());
  EXPECT_EQ(by_evidence.used_features().sum().item<int64_t>(), kWidth - 1);
}

// Eight rows, four of each class. Feature 0 is in all rows, 1 in three of the first class and one of the second, 2 in one of each,
// 3 in none.
TEST_F(TuneLinearTest, EvidenceIsTheFormula) {
  const Tensor x = torch::zeros({8, 4});
  x.select(1, 0).fill_(2);
  for (const int64_t row : {0, 1, 2, 4}) x[row][1] = 1;
  for (const int64_t row : {3, 7}) x[row][2] = -1;
  const std::vector<int64_t> classes{0, 0, 0, 0, 1, 1, 1, 1}, rows{0, 1, 2, 3, 4, 5, 6, 7};
  const Tensor found = feature_evidence(Inputs::dense(x), rows, classes, 4, 2);
  // lifts of feature 1: (3 + 1) / (4 + 2) / 0.5 and (1 + 1) / (4 + 2) / 0.5
  const double uneven = (std::pow(std::log(4.0 / 3), 2) + std::pow(std::log(2.0 / 3), 2)) / 2;
  const auto standard = [](std::vector<double> v) {
    const double mean = (v[0] + v[1] + v[2]) / 3;
    double square = 0;
    for (const double a : v) square += (a - mean) * (a - mean) / 3;
    for (double& a : v) a = (a - mean) / std::sqrt(square);
    v.push_back(0);  // of the feature that no row has
    return torch::tensor(v);
  };
  const double none = std::log(1 / 400.0);
  EXPECT_LT((found[0] - standard({none, std::log(1 / 400.0 + uneven), none})).abs().max().item<double>(),
            1e-12);
  // Feature 1: means 3/4 and 1/4, so that 1/16 of its variance of 1/4 lies between; of the others nothing does.
  const double apart = std::log(1 / 8.0 + 0.25);
  EXPECT_LT((found[1] - standard({std::log(1 / 8.0), apart, std::log(1 / 8.0)})).abs().max().item<double>(),
            1e-12);
  EXPECT_LT((found[2] - standard({std::log(4.0), std::log(0.5), std::log(0.25)})).abs().max().item<double>(),
            1e-6);
  // Where all features are alike nothing follows, and sparse rows say the same.
  EXPECT_EQ(
      feature_evidence(Inputs::dense(torch::ones({8, 4})), rows, classes, 4, 2).abs().max().item<double>(),
      0);
  const Inputs sparse = Inputs::sparse({.indices = torch::arange(4).repeat({8}),
                                        .values = x.flatten(),
                                        .offsets = torch::arange(9) * 4,
                                        .width = 4});
  EXPECT_LT((feature_evidence(sparse, rows, classes, 4, 2) - found).abs().max().item<double>(), 1e-12);
}

TEST_F(TuneLinearTest, ANetworkIsNotCrossFitted) {
  const TuneModelOptions options{
      .network = {.encoder = "mlp",
                  .outputs = kClasses,
                  .set = {{"hidden", 5}, {"layers", 1}, {"dropout", 0.0}, {"activation", "tanh"}}}};
  const InputShape shape{.kind = InputKind::dense, .width = kWidth};
  EXPECT_THROW(TuneModel(options, shape, folded_data()), InputError);
  TuneData data = folded_data();
  data.folds.clear();
  TuneModelOptions by_evidence = options;
  by_evidence.kind = TuneKind::l2_by_evidence;
  EXPECT_THROW(TuneModel(by_evidence, shape, data), InputError);
}

}  // namespace tune_linear_test
}  // namespace bilevel
