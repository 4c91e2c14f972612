#include "bilevel/task/auc/auc_model.h"

#include <gtest/gtest.h>
#include <torch/autograd.h>

#include <numeric>

#include "bilevel/core/streams.h"
#include "bilevel/hypergrad/implicit.h"
#include "bilevel/linear/neumann/neumann.h"
#include "bilevel/report/metrics.h"
#include "bilevel/solver/adambo/adambo.h"
#include "bilevel/solver/run.h"
#include "bilevel/task/job/seeded_network.h"
#include "tests/own_derivatives.h"
#include "tests/support.h"
#include "tests/unbiased.h"

namespace bilevel {
namespace auc_model_test {

std::map<std::string, torch::Tensor> all_tensors(const AucModel& model) {
  std::map<std::string, torch::Tensor> tensors = model.loss_tensors();
  tensors.merge(tensors_of(*model.network()));
  return tensors;
}

constexpr int64_t kRows = 40, kWidth = 3;

AucData small_data() {
  const DefaultGeneratorScope randomness(3);
  AucData data;
  data.labels = (torch::arange(kRows) % 4 == 0).to(torch::kFloat32);
  data.inputs = Inputs::dense(torch::randn({kRows, kWidth}) + data.labels.unsqueeze(1));
  data.lower.resize(kRows);
  std::iota(data.lower.begin(), data.lower.end(), 0);
  data.upper = data.lower;
  return data;
}

const nlohmann::json kSmall{{"hidden", 5}, {"layers", 1}, {"dropout", 0.0}, {"activation", "tanh"}};
const nlohmann::json kSmallEnsemble{{"perceptrons", 2}, {"hidden", 5},          {"bins", 4},
                                    {"waves", 7},       {"input_dropout", 0.0}, {"dropout", 0.0}};

AucModel small_model(const std::string& encoder, const std::string& form, double l2) {
  NetworkOptions network{.encoder = encoder};
  if (encoder == "mlp") network = {.encoder = encoder, .set = kSmall};
  if (encoder == "tab") network = {.encoder = encoder, .set = kSmallEnsemble};
  AucModel model(network, {.kind = InputKind::dense, .width = kWidth}, {form, 0.25, 1.0}, l2, 7, torch::kCPU);
  const DefaultGeneratorScope randomness(4);
  const torch::NoGradGuard no_grad;
  for (torch::Tensor& parameter : model.upper_parameters())
    parameter.add_(0.3 * torch::randn_like(parameter));
  model.alpha().fill_(0.2);  // not alpha*
  return model;
}

// A is quadratic in alpha with a constant curvature, so the hypergradient at any alpha, with z exact, is the
// gradient of Phi(x) = A(x, alpha*(x)) + L2; of an ensemble the sum of A over its members. Float32: sums of 40 rows agree to about 1e-6 of their size.
TEST(AucModel, HypergradientIsTheGradientOfPhiAtAnyAlpha) {
  const AucData data = small_data();
  for (const std::string encoder : {"linear", "mlp", "tab"}) {
    for (const std::string form : {"libauc", "ppd", "authors"}) {
      SCOPED_TRACE(encoder + " " + form);
      const double l2 = 2;
      const AucModel model = small_model(encoder, form, l2);
      const AucLoss loss{form, 0.25, 1.0};

      const std::vector<torch::Tensor> x = model.upper_parameters();
      Network& network = *model.network();
      const torch::Tensor u = network.members(network.encode(data.inputs.gather(data.upper))).squeeze(-1);
      const torch::Tensor s = u / (1 + u * u).sqrt();  // [rows, members]
      const torch::Tensor ranking = 0.25 * (1 - data.labels) - 0.75 * data.labels;
      const torch::Tensor q = s.t().mv(ranking) / kRows / (0.25 * 0.75);
      torch::Tensor phi =
          loss.value(s, data.labels, x[x.size() - 2], x[x.size() - 1], form == "ppd" ? q : 1 + q);
      for (const auto& parameter : model.network()->named_parameters()) {
        if (parameter.value().dim() < 2) continue;
        if (encoder == "tab" && parameter.key() != "encoder.kernel_weight") continue;
        const bool linear_map = encoder == "linear" || parameter.key().starts_with("skip");
        phi = phi + 0.25 * 0.75 * l2 / kRows * (linear_map ? 1.0 : 0.5) * parameter.value().square().sum();
      }
      const std::vector<torch::Tensor> parts = torch::autograd::grad({phi}, x);

      Oracles oracles(model.problem(data, kRows), 1);
      auto [upper, lower] = oracles.points(oracles.upper().draw("a"), oracles.lower().draw("b"));
      const auto solve = [&](const torch::Tensor& b) {
        return neumann(sampled_hessian(oracles, "c"), b, 1 / loss.lower_curvature(), 1);
      };
      const torch::Tensor estimate = implicit_hypergradient(oracles, upper, lower, solve).value;
      const torch::Tensor expected = oracles.x().pack(parts);
      EXPECT_LT((estimate - expected).norm().item<double>(), 1e-5 * expected.norm().item<double>());
    }
  }
}

// Sections 3.2 and 3.3: shared 2 forward and 2 backward encoder passes, here one over both batches;
// independent one more forward pass, without graph; the Neumann factors need no batch.
TEST(AucModel, AStepEncodesNoMoreThanTheMathematicsNeeds) {
  const AucData data = small_data();
  for (const Samples samples : {Samples::shared, Samples::independent}) {
    const AucModel model = small_model("mlp", "libauc", 1);
    Problem problem = model.problem(data, 8);
    std::vector<std::pair<int64_t, bool>> passes;  // rows, with graph
    problem.encode = [&, encode = problem.encode](const Batch& batch) {
      const torch::Tensor features = encode(batch);
      passes.emplace_back(batch.size(), features.requires_grad());
      return features;
    };
    Oracles oracles(problem, 1);
    AdamBO solver({.neumann_terms = 5, .samples = samples});
    solver.start(oracles, 10);
    passes.clear();
    solver.step(oracles);
    std::vector<std::pair<int64_t, bool>> expected{{16, true}};
    if (samples == Samples::independent) expected.emplace_back(8, false);
    EXPECT_EQ(passes, expected) << name_of(samples);
    EXPECT_EQ(oracles.ledger().steps.lower_samples, samples == Samples::shared ? 8 : 16);
  }
}

/// While it lives, new tensors are float64.
struct DoubleScope {
  DoubleScope() { torch::set_default_dtype(caffe2::TypeMeta::Make<double>()); }
  ~DoubleScope() { torch::set_default_dtype(caffe2::TypeMeta::Make<float>()); }
};

TEST(AucModel, OwnDerivativesAreThoseOfAutograd) {
  const DoubleScope in_float64;
  AucData data = small_data();
  data.inputs = Inputs::dense(data.inputs.matrix()[0].to(torch::kFloat64));
  data.labels[8] = 0;  // batches with weights
  for (const std::string form : {"libauc", "ppd", "authors"}) {
    for (const double l2 : {0.0, 2.0}) {
      SCOPED_TRACE(form + " " + std::to_string(l2));
      expect_own_derivatives(small_model("linear", form, l2).problem(data, 7));
    }
  }
  EXPECT_FALSE(Oracles(small_model("mlp", "libauc", 1).problem(data, 7), 1).has_derivatives());
}

// 2 of 40 rows are positive: in batches of 6 less than one row, in batches of 25 more.
TEST(AucModel, BatchesAverageToAllRowsWhereTheClassIsRare) {
  const DoubleScope in_float64;
  AucData data = small_data();
  data.labels.zero_();
  data.labels[4] = 1;
  data.labels[31] = 1;
  for (const std::string encoder : {"linear", "mlp"}) {
    for (const std::string form : {"libauc", "ppd", "authors"}) {
      for (const int64_t batch_size : {2, 6, 25}) {
        SCOPED_TRACE(encoder + " " + form + " " + std::to_string(batch_size));
        const Problem problem = small_model(encoder, form, 2).problem(data, batch_size);
        const int64_t cycle = batches_of_a_cycle({kRows - 2, 2}, batch_size);
        expect_unbiased(problem, problem.upper, cycle);
        expect_unbiased(problem, problem.lower, cycle);
      }
    }
  }
}

// rho is the share of the rows that are trained on: another one changes nothing.
TEST(AucModel, TheShareIsThatOfTheLevelsRows) {
  AucData data = small_data();
  data.upper = {0, 1, 2, 3, 4, 5, 6, 8};                  // 3 of 8
  data.lower = {1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13};  // 2 of 12
  const auto levels = [&](double given) {
    AucModel model({.encoder = "linear"}, {.kind = InputKind::dense, .width = kWidth}, {"libauc", given, 1.0},
                   3, 7, torch::kCPU);
    const torch::NoGradGuard no_grad;
    model.alpha().fill_(0.2);
    Oracles oracles(model.problem(data, 100), 1);
    const auto [f, g] = oracles.full_losses();
    EXPECT_NEAR(oracles.lower_hessian(torch::ones({1})).item<double>(), 2 * (2 / 12.0) * (10 / 12.0), 1e-7);
    const auto expected = [&](const std::vector<int64_t>& rows, double share) {
      const torch::Tensor zero = torch::zeros({1});
      return AucLoss{"libauc", share, 1.0}
          .value(model.scores(data.inputs, rows), data.labels.index_select(0, torch::tensor(rows)), zero,
                 zero, model.alpha())
          .item<double>();
    };
    EXPECT_NEAR(g, -expected(data.lower, 2 / 12.0), 1e-6);
    const auto at = [&](const std::vector<int64_t>& rows) {
      return model.loss(model.scores(data.inputs, rows), data.labels.index_select(0, torch::tensor(rows)));
    };
    EXPECT_NEAR(at(data.lower), expected(data.lower, 2 / 12.0), 1e-6);
    EXPECT_NEAR(at(data.upper), expected(data.upper, 3 / 8.0), 1e-6);
    return f;
  };
  EXPECT_EQ(levels(0.5), levels(0.01));
  data.upper = {1, 2, 3};
  EXPECT_THROW(small_model("linear", "libauc", 1).problem(data, 2), InputError);
}

// 6 of 3,000 training rows are positive, so a batch of 16 holds 31 times their share. 250 of the 2,000 test rows are.
TEST(AucModel, MinibatchesLearnARareClassAsTheFullBatchDoes) {
  constexpr int64_t kTrain = 3000, kTest = 2000;
  for (const uint64_t draw : {100, 101, 102}) {
    const DefaultGeneratorScope randomness(draw);
    AucData data;
    const torch::Tensor row = torch::arange(kTrain + kTest);
    data.labels = torch::where(row < kTrain, row % 500 == 0, row % 8 == 0).to(torch::kFloat32);
    data.inputs = Inputs::dense(torch::randn({kTrain + kTest, kWidth}) +
                                data.labels.unsqueeze(1) * torch::tensor({1.5f, 0.0f, 1.0f}));
    data.lower.resize(kTrain);
    std::iota(data.lower.begin(), data.lower.end(), 0);
    data.upper = data.lower;
    std::vector<int64_t> test(kTest);
    std::iota(test.begin(), test.end(), kTrain);
    const auto test_auc = [&](int64_t batch_size) {
      const AucModel model({.encoder = "linear"}, {.kind = InputKind::dense, .width = kWidth},
                           {"libauc", 0.002, 1.0}, 80, 1, torch::kCPU);
      AdamBO solver({.upper_step_size = 0.02, .neumann_terms = 1});
      const Result result = run(model.problem(data, batch_size), solver, {.max_steps = 400, .seed = draw});
      EXPECT_EQ(result.reason, StopReason::max_steps);
      return auc(ScoredRows(model.scores(data.inputs, test), data.labels.narrow(0, kTrain, kTest)));
    };
    const double whole = test_auc(kTrain), small = test_auc(16);
    EXPECT_GT(whole, 0.85) << draw;
    EXPECT_GT(small, whole - 0.05) << draw;
  }
}

TEST(AucModel, SavesAndLoads) {
  const AucData data = small_data();
  const AucModel model = small_model("mlp", "libauc", 1);
  AucModel other({.encoder = "mlp", .set = kSmall}, {.kind = InputKind::dense, .width = kWidth},
                 {"libauc", 0.25, 1.0}, 1, 99, torch::kCPU);
  EXPECT_FALSE(torch::equal(model.scores(data.inputs, data.upper), other.scores(data.inputs, data.upper)));
  other.load(all_tensors(model));
  EXPECT_TRUE(torch::equal(model.scores(data.inputs, data.upper), other.scores(data.inputs, data.upper)));
  auto missing = all_tensors(model);
  missing.erase("auc.a");
  EXPECT_THROW(other.load(missing), FileError);
}

TEST(AucModel, ScoresLieBetweenMinusOneAndOne) {
  const AucModel model = small_model("linear", "libauc", 1);
  const Inputs extreme = Inputs::dense(torch::tensor({{-1e6f, 0.f, 0.f}, {1e6f, 1e6f, -1e6f}}));
  EXPECT_LE(model.scores(extreme, {0, 1}).abs().max().item<float>(), 1.0f);
}

TEST(WarningOfScores, NamesScoresThatSaturateOrDoNotVary) {
  const auto warning = [](const torch::Tensor& scores) {
    return warning_of_scores(ScoredRows(scores, torch::arange(scores.numel()) % 10 == 0));
  };
  const DefaultGeneratorScope randomness(9);
  const torch::Tensor normal = 0.3 * torch::randn({1000}),
                      sign = torch::where(torch::arange(1000) % 3 == 0, 1.0, -1.0);
  EXPECT_EQ(warning(normal.clamp(-1, 1)), "");
  EXPECT_EQ(warning(0.98 * sign), "") << "two groups far from the edge";
  EXPECT_EQ(warning(torch::where(torch::arange(1000) < 880, 0.9995 * sign, 0.1 * sign)), "")
      << "not nearly all";
  EXPECT_CONTAINS(warning(sign - 1e-4 * sign * normal.abs()),
                  "100 % of the test rows have scores beyond +-0.999");
  EXPECT_CONTAINS(warning(torch::where(torch::arange(1000) < 920, 0.9995 * sign, 0.1 * sign)), "92 % of the");
  EXPECT_CONTAINS(warning(0.25 + 1e-5 * normal.clamp(-1, 1)), "hardly vary: all lie between 0.2499");
  EXPECT_CONTAINS(warning(torch::full({50}, -1.0)), "hardly vary: all lie between -1 and -1");
  EXPECT_CONTAINS(warning(torch::where(torch::arange(1000) < 950, 0.5, normal)), "hardly vary: 95 % are 0.5");
}

}  // namespace auc_model_test
}  // namespace bilevel
