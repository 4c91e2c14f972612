#include "bilevel/task/clean/clean_model.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <numeric>

#include "bilevel/core/streams.h"
#include "bilevel/hypergrad/minimize.h"
#include "bilevel/oracle/oracles.h"
#include "tests/unbiased.h"

namespace bilevel {
namespace clean_model_test {

/// While it lives, new tensors are float64.
struct DoubleScope {
  DoubleScope() { torch::set_default_dtype(caffe2::TypeMeta::Make<double>()); }
  ~DoubleScope() { torch::set_default_dtype(caffe2::TypeMeta::Make<float>()); }
};

constexpr int64_t kTrain = 14, kTrusted = 9, kWidth = 2, kClasses = 3;
constexpr double kKappa = 0.7;

CleanData small_data(const torch::Tensor& unit_of, int64_t units) {
  const DefaultGeneratorScope randomness(5);
  CleanData data;
  data.inputs = Inputs::dense(torch::randn({kTrain + kTrusted, kWidth}));
  data.classes = torch::randint(kClasses, {kTrain + kTrusted}, torch::kInt64);
  data.lower.resize(kTrain);
  std::iota(data.lower.begin(), data.lower.end(), 0);
  data.upper.resize(kTrusted);
  std::iota(data.upper.begin(), data.upper.end(), kTrain);
  data.unit_of = unit_of;
  data.units = units;
  return data;
}

CleanModel small_model(int64_t units) {
  CleanModel model({.encoder = "linear", .outputs = kClasses}, {.kind = InputKind::dense, .width = kWidth},
                   kKappa, units, -0.5, 1, torch::kCPU);
  const torch::NoGradGuard no_grad;
  const DefaultGeneratorScope randomness(6);
  model.logits().add_(torch::randn({units}));
  return model;
}

torch::Tensor own_units() { return torch::arange(kTrain + kTrusted, torch::kInt64).clamp_max(kTrain - 1); }

/// The hypergradient at y*(x), with z from the dense Hessian.
torch::Tensor hypergradient(Oracles& oracles) {
  solve_lower(oracles, oracles.lower().draw("solve"));
  const int64_t n = oracles.y().size();
  LossPoint curved = oracles.lower().point(oracles.lower().draw("h"), Graph::lower_only);
  std::vector<torch::Tensor> columns;
  for (int64_t i = 0; i < n; ++i) columns.push_back(curved.hvp(torch::eye(n)[i].contiguous()));
  LossPoint upper = oracles.upper().point(oracles.upper().draw("f"));
  LossPoint lower = oracles.lower().point(oracles.lower().draw("g"), Graph::both);
  const torch::Tensor z = torch::linalg_solve(torch::stack(columns, 1), upper.grad_y());
  return oracles.hypergradient(upper, lower, z);
}

double upper_value(Oracles& oracles) {
  solve_lower(oracles, oracles.lower().draw("solve"));
  return oracles.full_losses().first;
}

// d Phi / d x_i = -sigma'(x_i)/n <grad loss_i(y*), z>, with H z = grad_y f, and grad loss_i = (p_i - t_i) (a_i, 1) for
// a softmax.
TEST(CleanModel, HypergradientIsTheClosedForm) {
  const DoubleScope in_float64;
  const CleanData data = small_data(own_units(), kTrain);
  const CleanModel model = small_model(kTrain);
  Oracles oracles(model.problem(data, 100), 1);
  const torch::Tensor found = hypergradient(oracles);

  const torch::NoGradGuard no_grad;
  const torch::Tensor all = data.inputs.gather(data.lower)[0], judge = data.inputs.gather(data.upper)[0];
  const auto with_one = [](const torch::Tensor& a) {
    return torch::cat({a, torch::ones({a.size(0), 1})}, 1);
  };
  const auto residual = [&](const torch::Tensor& a, int64_t from) {
    const torch::Tensor target =
        torch::one_hot(data.classes.narrow(0, from, a.size(0)), kClasses).to(torch::kFloat64);
    return torch::softmax(model.network()->forward({a}), 1) - target;
  };
  const torch::Tensor b = with_one(judge).t().mm(residual(judge, kTrain)).flatten() / kTrusted;
  const torch::Tensor p = torch::softmax(model.network()->forward({all}), 1);
  const torch::Tensor w = torch::sigmoid(model.logits());
  const int64_t size = (kWidth + 1) * kClasses;
  torch::Tensor h = kKappa / kTrain * torch::eye(size);
  for (int64_t i = 0; i < kTrain; ++i) {
    const torch::Tensor a = with_one(all)[i];
    h += w[i] / kTrain * torch::kron(torch::outer(a, a), torch::diag(p[i]) - torch::outer(p[i], p[i]));
  }
  const torch::Tensor z = torch::linalg_solve(h, b).view({kWidth + 1, kClasses});
  const torch::Tensor along = (residual(all, 0) * with_one(all).mm(z)).sum(1);
  const torch::Tensor expected = -w * (1 - w) * along / kTrain;
  EXPECT_LT((found - expected).norm().item<double>(), 1e-8 * expected.norm().item<double>());
}

TEST(CleanModel, HypergradientIsTheSlopeOfTheSolvedProblem) {
  const DoubleScope in_float64;
  const CleanModel model = small_model(kTrain);
  Oracles oracles(model.problem(small_data(own_units(), kTrain), 100), 1);
  const torch::Tensor found = hypergradient(oracles);
  const torch::Tensor x = oracles.x().flat().clone();
  constexpr double kStep = 1e-4;
  for (int64_t i = 0; i < kTrain; ++i) {
    torch::Tensor moved = x.clone();
    moved[i] += kStep;
    oracles.x().assign(moved);
    const double above = upper_value(oracles);
    moved[i] -= 2 * kStep;
    oracles.x().assign(moved);
    const double below = upper_value(oracles);
    EXPECT_NEAR(found[i].item<double>(), (above - below) / (2 * kStep), 1e-8) << "row " << i;
  }
}

TEST(CleanModel, ASharedLogitHasTheSumOfItsRowsSlopes) {
  const DoubleScope in_float64;
  const CleanModel one = small_model(kTrain), shared = small_model(2);
  {
    const torch::NoGradGuard no_grad;
    one.logits().fill_(-0.3);
    shared.logits().fill_(-0.3);
  }
  Oracles by_row(one.problem(small_data(own_units(), kTrain), 100), 1);
  Oracles by_group(shared.problem(small_data(own_units() % 2, 2), 100), 1);
  const torch::Tensor rows = hypergradient(by_row), groups = hypergradient(by_group);
  const torch::Tensor sums =
      torch::stack({rows.slice(0, 0, kTrain, 2).sum(), rows.slice(0, 1, kTrain, 2).sum()});
  EXPECT_LT((groups - sums).norm().item<double>(), 1e-8 * sums.norm().item<double>());
}

TEST(CleanModel, BatchesAverageToAllRows) {
  const DoubleScope in_float64;
  const CleanData data = small_data(own_units(), kTrain);
  const CleanModel model = small_model(kTrain);
  Problem problem = model.problem(data, 4);
  expect_unbiased(problem, problem.upper, kTrusted);
  expect_unbiased(problem, problem.lower, kTrain);
  // Batches that hold a class in another share than the data: both losses heed the rows' weights.
  for (Level* level : {&problem.upper, &problem.lower}) {
    const BatchSource plain = level->batches;
    const std::vector<int64_t>& rows = level == &problem.upper ? data.upper : data.lower;
    std::vector<int64_t> classes(rows.size(), 0);
    classes[2] = 1;
    level->batches = BatchSource(plain.data(), rows, {.batch_size = 4}, classes);
    expect_unbiased(problem, *level, batches_of_a_cycle({static_cast<int64_t>(rows.size()) - 1, 1}, 4));
  }
}

TEST(CleanModel, TheLevelsReadTheirOwnRows) {
  const DoubleScope in_float64;
  CleanData data = small_data(own_units(), kTrain);
  const CleanModel model = small_model(kTrain);
  // y starts at zero, where every class has the same probability.
  {
    const torch::NoGradGuard no_grad;
    model.network()->parameters()[0].add_(torch::randn({kWidth, kClasses}));
  }
  const auto losses = [&] { return Oracles(model.problem(data, 100), 1).full_losses(); };
  const auto before = losses();
  const torch::Tensor classes = data.classes.clone();
  data.classes = classes.clone();
  data.classes[0] = (classes[0] + 1) % kClasses;  // a training row
  EXPECT_EQ(losses().first, before.first);
  EXPECT_NE(losses().second, before.second);
  data.classes = classes.clone();
  data.classes[kTrain] = (classes[kTrain] + 1) % kClasses;  // a trusted row
  const auto changed = losses();
  data.classes = classes;
  const auto unchanged = losses();
  EXPECT_NE(changed.first, unchanged.first);
  EXPECT_EQ(changed.second, unchanged.second);
}

}  // namespace clean_model_test
}  // namespace bilevel
