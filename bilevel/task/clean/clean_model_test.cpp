#include "bilevel/task/clean/clean_model.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>
#include <numeric>

#include "bilevel/core/streams.h"
#include "bilevel/hypergrad/minimize.h"
#include "bilevel/oracle/oracles.h"
#include "bilevel/task/job/linear_classifier.h"
#include "tests/unbiased.h"

namespace bilevel {
namespace clean_model_test {

/// While it lives, new tensors are float64.
struct DoubleScope {
  DoubleScope() { torch::set_default_dtype(caffe2::TypeMeta::Make<double>()); }
  ~DoubleScope() { torch::set_default_dtype(caffe2::TypeMeta::Make<float>()); }
};

constexpr int64_t kTrain = 14, kTrusted = 9, kRows = kTrain + kTrusted, kWidth = 3, kFoldsHere = 3;

std::vector<int64_t> range(int64_t begin, int64_t end) {
  std::vector<int64_t> rows(static_cast<size_t>(end - begin));
  std::iota(rows.begin(), rows.end(), begin);
  return rows;
}

/// Three inputs, of which the last is a block of its own; training rows of two units.
CleanData small_data(int64_t classes) {
  const DefaultGeneratorScope randomness(5);
  return {
      .inputs = {Inputs::dense(torch::randn({kRows, kWidth})), {.kind = InputKind::dense, .width = kWidth}},
      .block_of = torch::tensor({0, 0, 1}),
      .classes = torch::randint(classes, {kRows}, torch::kInt64),
      .count = classes,
      .train = range(0, kTrain),
      .trusted = range(kTrain, kRows),
      .upper = range(kTrain, kRows),
      .fold_of = torch::arange(kRows) % kFoldsHere,
      .weights = torch::rand({kFoldsHere, kRows}),
      .unit_of = (torch::arange(kFoldsHere * kRows) / 2 % 2).view({kFoldsHere, kRows}).to(torch::kInt64)};
}

const FitStrengths kStart{.l2 = {0.7, 2}, .beta = 1.3, .trusted = 3, .of_units = {1, 0.6}};

CleanModel small_model(int64_t classes, const std::string& encoder = "linear") {
  NetworkOptions options{.encoder = encoder, .outputs = classes};
  if (encoder == "mlp")
    options.set = {{"hidden", 4}, {"layers", 1}, {"dropout", 0.0}, {"linear_skip", false}};
  FitStrengths start = kStart;
  if (encoder == "mlp") start.l2 = {0.7};
  return {small_data(classes), options, start, 1, torch::kCPU};
}

class CleanModelOf : public testing::TestWithParam<int64_t> {};

double value_at(Oracles& oracles, const torch::Tensor& x) {
  oracles.x().assign(x);
  solve_lower(oracles, oracles.lower().draw("solve"));
  return oracles.full_losses().first;
}

torch::Tensor hypergradient(Oracles& oracles) {
  solve_lower(oracles, oracles.lower().draw("solve"));
  const int64_t n = oracles.y().size();
  LossPoint curved = oracles.lower().point(oracles.lower().draw("h"), Graph::lower_only);
  std::vector<torch::Tensor> columns;
  for (int64_t i = 0; i < n; ++i) columns.push_back(curved.hvp(torch::eye(n)[i].contiguous()));
  LossPoint upper = oracles.upper().point(oracles.upper().draw("f"));
  LossPoint lower = oracles.lower().point(oracles.lower().draw("g"), Graph::both);
  return oracles.hypergradient(upper, lower, torch::linalg_solve(torch::stack(columns, 1), upper.grad_y()));
}

TEST_P(CleanModelOf, HypergradientIsTheSlopeOfTheSolvedProblem) {
  const DoubleScope in_float64;
  const CleanModel model = small_model(GetParam());
  Oracles oracles(model.problem(100), 1);
  const torch::Tensor x = oracles.x().flat() + 0.2;
  oracles.x().assign(x);
  const torch::Tensor found = hypergradient(oracles);
  ASSERT_EQ(found.numel(), 6) << "two strengths, the trusted rows, beta, two units";
  constexpr double kStep = 1e-4;
  for (int64_t i = 0; i < x.numel(); ++i) {
    torch::Tensor moved = x.clone();
    moved[i] += kStep;
    const double above = value_at(oracles, moved);
    moved[i] -= 2 * kStep;
    EXPECT_NEAR(found[i].item<double>(), (above - value_at(oracles, moved)) / (2 * kStep), 1e-8) << i;
  }
}

TEST_P(CleanModelOf, ItsOwnDerivativesAreAutograds) {
  const DoubleScope in_float64;
  const CleanModel model = small_model(GetParam());
  Problem by_hand = model.problem(100), by_autograd = by_hand;
  by_autograd.upper.derivatives = by_autograd.lower.derivatives = nullptr;
  Oracles own(by_hand, 1), reference(by_autograd, 1);
  const torch::Tensor y = own.y().flat().clone(), x = own.x().flat() + 0.1;
  const torch::Tensor v = torch::sin(torch::arange(y.numel()).to(torch::kFloat64));
  const auto all_of = [&](Oracles& oracles) {
    oracles.x().assign(x);
    oracles.y().assign(y + 0.05);
    std::vector<torch::Tensor> found;
    for (LevelOracle* level : {&oracles.upper(), &oracles.lower()}) {
      LossPoint point = level->point(level->draw("a"), Graph::both);
      found.insert(found.end(), {point.grad_x(), point.grad_y(), point.hvp(v), point.cross_vjp(v)});
    }
    return found;
  };
  const std::vector<torch::Tensor> ours = all_of(own), theirs = all_of(reference);
  for (size_t i = 0; i < ours.size(); ++i)
    EXPECT_LT((ours[i] - theirs[i]).norm().item<double>(), 1e-10 * (1 + theirs[i].norm().item<double>()))
        << i;
}

TEST_P(CleanModelOf, TheClassifierOfAFoldKnowsNothingOfIt) {
  const DoubleScope in_float64;
  CleanData data = small_data(GetParam());
  const NetworkOptions options{.encoder = "linear", .outputs = GetParam()};
  const auto of_first_fold = [&](const CleanData& given) {
    const CleanModel model(given, options, kStart, 1, torch::kCPU);
    const Problem problem = model.problem(100);   // y starts at its solution
    return model.probabilities({0, kTrain + 1});  // rows of fold 0
  };
  ASSERT_EQ(data.fold_of[kTrain + 1].item<int64_t>(), 0);
  const torch::Tensor before = of_first_fold(data);
  for (const int64_t row : {0, 3}) data.classes[row] = (data.classes[row] + 1) % GetParam();
  data.classes[kTrain + 4] = (data.classes[kTrain + 4] + 1) % GetParam();  // a trusted row of fold 0
  ASSERT_EQ(data.fold_of[kTrain + 4].item<int64_t>(), 0);
  EXPECT_TRUE(torch::equal(of_first_fold(data), before));
  data.classes[1] = (data.classes[1] + 1) % GetParam();
  EXPECT_FALSE(torch::equal(of_first_fold(data), before));
}

TEST_P(CleanModelOf, BatchesAverageToAllRows) {
  const DoubleScope in_float64;
  const CleanModel model = small_model(GetParam());
  Problem problem = model.problem(4);
  expect_unbiased(problem, problem.upper, kTrusted);
  expect_unbiased(problem, problem.lower, kRows);
}

TEST_P(CleanModelOf, SaysWhatItStartsFrom) {
  const CleanModel model = small_model(GetParam());
  const FitStrengths found = model.strengths(model.x());
  EXPECT_NEAR(found.l2.at(0), 0.7, 1e-6);
  EXPECT_NEAR(found.l2.at(1), 2, 1e-6);
  EXPECT_NEAR(found.trusted, 3, 1e-6);
  EXPECT_NEAR(found.beta, 1.3, 1e-6);
  EXPECT_NEAR(found.of_units.at(1), 0.6, 1e-6);
}

// The information of one unit alone is the sum of squares of what its losses change by, all else held.
TEST_P(CleanModelOf, ErrorsOfUnitsComeFromTheLossesOfTheJudges) {
  const DoubleScope in_float64;
  const CleanModel model = small_model(GetParam());
  const torch::Tensor x = model.start(), errors = model.standard_errors_of_units(x);
  ASSERT_EQ(errors.numel(), 2);
  constexpr double kStep = 1e-3;
  std::vector<torch::Tensor> slopes;
  for (int64_t u = 4; u < 6; ++u) {  // behind two strengths, the trusted rows and beta
    torch::Tensor above = x.clone(), below = x.clone();
    above[u] += kStep;
    below[u] -= kStep;
    slopes.push_back((model.judging_losses(above) - model.judging_losses(below)) / (2 * kStep));
  }
  const double a = slopes[0].dot(slopes[0]).item<double>() + 0.5, b = slopes[0].dot(slopes[1]).item<double>(),
               c = slopes[1].dot(slopes[1]).item<double>() + 0.5;
  constexpr double kApart = 0.03;  // what differences over 0.3 miss
  EXPECT_NEAR(errors[0].item<double>(), std::sqrt(c / (a * c - b * b)), kApart);
  EXPECT_NEAR(errors[1].item<double>(), std::sqrt(a / (a * c - b * b)), kApart);
  EXPECT_LT(errors.max().item<double>(), std::sqrt(2.0));  // that of the prior
}

// Weights of units keep the least entropy that was asked for.
TEST_P(CleanModelOf, UnitsKeepTheirEntropy) {
  CleanData data = small_data(GetParam());
  data.entropy_floor = 1;
  const CleanModel model(data, {.encoder = "linear", .outputs = GetParam()}, kStart, 1, torch::kCPU);
  const Problem problem = model.problem(100);
  const torch::Tensor x = model.start() + 0.1, bounded = problem.upper.project(x);
  EXPECT_TRUE(torch::equal(bounded.narrow(0, 0, 4), x.narrow(0, 0, 4)));
  EXPECT_NEAR((bounded[4] - bounded[5]).item<double>(), 0, 1e-6);
}

INSTANTIATE_TEST_SUITE_P(Classes, CleanModelOf, testing::Values(2, 3));

TEST(CleanModel, NetworksAreJudgedByTheRowsThatTheyDoNotKnow) {
  const DoubleScope in_float64;
  const CleanModel model = small_model(3, "mlp");
  EXPECT_FALSE(model.linear());
  Oracles oracles(model.problem(100), 1);
  const auto losses = oracles.full_losses();
  // Each row's loss by the classifier without its fold, and the prior, which is 0 at the start.
  const CleanData data = small_data(3);
  const torch::Tensor p = model.probabilities(data.upper);
  const torch::Tensor sharpened = torch::log_softmax(1.3 * p.log(), 1);
  const torch::Tensor classes = data.classes.slice(0, kTrain).unsqueeze(1);
  EXPECT_NEAR(losses.first, -sharpened.gather(1, classes).mean().item<double>(), 1e-10);
}

// log odds v'a + c of two classes as a softmax of two outputs.
TEST(LinearClassifier, TwoClassesAreASoftmax) {
  const DoubleScope in_float64;
  const CleanData data = small_data(2);
  const LinearLoss loss = classifier_loss(design_of(data.inputs.inputs, kWidth), data.classes, 2,
                                          torch::zeros({kWidth}, torch::kInt64));
  const torch::Tensor x = log_strengths({0.8}, kRows, 2), y = torch::randn({kWidth + 1});
  const auto network = make_network({.encoder = "linear", .outputs = 2}, data.inputs.shape);
  set_classifier(*network, y);
  const Batch all(data_set(data.inputs.inputs.matrix(), data.classes), range(0, kRows));
  const std::vector<torch::Tensor> w = network->parameters();  // the weights, the biases
  const double squares = w[0].square().sum().item<double>() + kBiasShare * w[1].square().sum().item<double>();
  EXPECT_NEAR(loss.value(all, x, y).item<double>(),
              losses_of(*network, all.inputs(), all.targets()).mean().item<double>() + 0.4 * squares / kRows,
              1e-12);
  EXPECT_NEAR(kappas_of(x, kRows, 2).at(0), 0.8, 1e-12);
}

}  // namespace clean_model_test
}  // namespace bilevel
