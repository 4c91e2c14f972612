#include "bilevel/glm/mixture_loss.h"

#include <ATen/ops/linalg_solve.h>
#include <gtest/gtest.h>
#include <torch/autograd.h>

#include "bilevel/core/error.h"
#include "bilevel/core/flat.h"
#include "bilevel/core/streams.h"

namespace bilevel {
namespace mixture_loss_test {

constexpr int64_t kRows = 60, kWidth = 4, kClasses = 3, kSources = 3, kModels = 2, kSeen = 50;

/// Two models on three sources, whose last rows the second one does not see.
struct Mixture {
  MixtureLoss lower;
  LinearLoss upper;
  torch::Tensor x, y;
  Batch rows;

  Mixture() {
    const DefaultGeneratorScope randomness(5);
    const torch::Tensor dense = torch::randn({kRows, kWidth}, torch::kFloat64),
                        targets = torch::randint(kClasses, {kRows}, torch::kInt64);
    upper = {.rows = DesignRows({dense}, kWidth, torch::kFloat64),
             .targets = targets,
             .loss = RowLoss::softmax,
             .outputs = kClasses,
             .models = kModels,
             .bias = true};
    lower = {.linear = upper, .sources = kSources};
    lower.linear.weight = RowWeight::plain;
    lower.linear.unit_of = torch::arange(kRows) % kSources;
    const torch::Tensor unseen = torch::arange(kRows) >= kSeen;
    upper.row_weights = torch::stack({unseen.logical_not(), unseen}).to(torch::kFloat64);
    lower.linear.row_weights = torch::zeros({kModels, kRows}, torch::kFloat64);
    for (int64_t k = 0; k < kModels; ++k) {
      const torch::Tensor seen = torch::arange(kRows) < rows_seen(k);
      const torch::Tensor counts = torch::bincount(lower.linear.unit_of, seen, kSources);
      lower.linear.row_weights[k].copy_(seen * kRows / counts.index_select(0, lower.linear.unit_of));
    }
    upper.centre = torch::tensor({0.0, 0.0, 0.0, -1.0}, torch::kFloat64);
    upper.precision = 0.2;
    lower.linear.strength_of = upper.for_each_weight(torch::full({kWidth}, kSources, torch::kInt64), -1);
    lower.linear.strength_factor = 0.5 + torch::rand({upper.size()}, torch::kFloat64);
    x = torch::tensor({0.4, -0.3, 0.1, -1.2}, torch::kFloat64).requires_grad_();
    y = torch::randn({upper.size()}, torch::kFloat64).requires_grad_();
    std::vector<int64_t> all(kRows);
    for (int64_t i = 0; i < kRows; ++i) all[static_cast<size_t>(i)] = i;
    rows = Batch(data_set({targets}), all);
  }

  static int64_t rows_seen(int64_t model) { return model == 0 ? kRows : kSeen; }

  torch::Tensor gradient(const torch::Tensor& at) const {
    const torch::Tensor result = zeros_of(at);
    derivatives_of(lower)()->at(rows, x.detach(), at)->gradient({}, {&result});
    return result;
  }
  torch::Tensor hessian(const torch::Tensor& at) const {
    const auto derivatives = derivatives_of(lower)();
    const auto point = derivatives->at(rows, x.detach(), at);
    std::vector<torch::Tensor> columns;
    for (int64_t j = 0; j < at.numel(); ++j) {
      torch::Tensor unit = zeros_of(at), column = zeros_of(at);
      unit[j] = 1;
      point->products(unit, {}, {&column});
      columns.push_back(column);
    }
    // The softmax does not see a shift of all biases.
    return torch::stack(columns, 1) + 1e-9 * torch::eye(at.numel(), torch::kFloat64);
  }
  /// y*(x), by Newton's method.
  torch::Tensor solved() const {
    torch::Tensor at = torch::zeros_like(y.detach());
    for (int i = 0; i < 30; ++i) at = at - at::linalg_solve(hessian(at), gradient(at));
    return at;
  }
};

void expect_close(const torch::Tensor& found, const torch::Tensor& expected, double tolerance) {
  EXPECT_LT((found - expected).abs().max().item<double>(),
            tolerance * (1 + expected.abs().max().item<double>()));
}

TEST(MixtureLoss, IsTheWeightedSumOfTheSourcesMeanLosses) {
  Mixture mixture;
  LinearLoss& linear = mixture.lower.linear;
  linear.strength_of = torch::Tensor();
  const torch::Tensor p = mixture.x.detach().narrow(0, 0, kSources).softmax(0);
  LinearLoss alone = mixture.upper;
  alone.models = 1;
  alone.row_weights = alone.centre = torch::Tensor();
  double expected = 0;
  for (int64_t k = 0; k < kModels; ++k) {
    for (int64_t s = 0; s < kSources; ++s) {
      Rows of_source;
      for (int64_t row = s; row < Mixture::rows_seen(k); row += kSources) of_source.push_back(row);
      const Batch own(data_set({linear.targets}), of_source);
      expected +=
          p[s].item<double>() * alone.value(own, {}, linear.model_of(mixture.y.detach(), k)).item<double>();
    }
  }
  EXPECT_NEAR(mixture.lower.value(mixture.rows, mixture.x, mixture.y).item<double>(), expected, 1e-12);
}

TEST(MixtureLoss, DerivativesAreWhatAutogradFinds) {
  const Mixture mixture;
  const DefaultGeneratorScope randomness(7);
  const torch::Tensor v = torch::randn({mixture.y.numel()}, torch::kFloat64),
                      value = mixture.lower.value(mixture.rows, mixture.x, mixture.y);
  const auto first = torch::autograd::grad({value}, {mixture.x, mixture.y}, {}, true, /*create_graph=*/true);
  const auto second = torch::autograd::grad({(first[1] * v).sum()}, {mixture.x, mixture.y});
  const auto derivatives = derivatives_of(mixture.lower)();
  const auto point = derivatives->at(mixture.rows, mixture.x.detach(), mixture.y.detach());
  EXPECT_NEAR(point->value(), value.item<double>(), 1e-12);
  torch::Tensor in_x = zeros_of(mixture.x), in_y = zeros_of(mixture.y), cross = zeros_of(mixture.x),
                hvp = zeros_of(mixture.y);
  point->gradient({&in_x, 2}, {&in_y, -1});
  point->products(v, {&cross, 3}, {&hvp});
  expect_close(in_x, 2 * first[0].detach(), 1e-12);
  expect_close(in_y, -first[1].detach(), 1e-12);
  expect_close(cross, 3 * second[0], 1e-12);
  expect_close(hvp, second[1], 1e-12);
}

// -Cov_p(c, dx), c_s the product of the source's gradient with z, H z = grad_y f: as finite differences of the solved problem.
TEST(MixtureLoss, TheHypergradientIsACovariance) {
  Mixture mixture;
  const auto solved_loss = [&](int64_t j, double by) {
    Mixture moved = mixture;
    moved.x = mixture.x.detach().clone();
    moved.x[j] += by;
    return moved.upper.value(moved.rows, moved.x, moved.solved()).item<double>();
  };
  const torch::Tensor y = mixture.solved(), in_y = zeros_of(y), in_x = zeros_of(mixture.x);
  derivatives_of(mixture.upper)()->at(mixture.rows, mixture.x.detach(), y)->gradient({&in_x}, {&in_y});
  const torch::Tensor z = at::linalg_solve(mixture.hessian(y), in_y);
  derivatives_of(mixture.lower)()->at(mixture.rows, mixture.x.detach(), y)->products(z, {&in_x, -1}, {});
  for (int64_t j = 0; j <= kSources; ++j) {
    const double h = 1e-4, found = (solved_loss(j, h) - solved_loss(j, -h)) / (2 * h);
    EXPECT_NEAR(in_x[j].item<double>(), found, 1e-7) << j;
  }
  // By the formula: covariance under p of c_s and the unit vectors.
  const torch::Tensor p = mixture.x.detach().narrow(0, 0, kSources).softmax(0);
  torch::Tensor c = torch::zeros({kSources}, torch::kFloat64);
  for (int64_t s = 0; s < kSources; ++s) {
    LinearLoss alone = mixture.lower.linear;
    alone.row_weights = alone.row_weights * (alone.unit_of == s);
    alone.unit_of = alone.strength_of = torch::Tensor();
    const torch::Tensor of_source = zeros_of(y);
    derivatives_of(alone)()->at(mixture.rows, mixture.x.detach(), y)->gradient({}, {&of_source});
    c[s] = of_source.dot(z);
  }
  const torch::Tensor prior =
      mixture.upper.precision * (mixture.x.detach() - mixture.upper.centre).narrow(0, 0, kSources);
  expect_close(in_x.narrow(0, 0, kSources), prior - p * (c - p.dot(c)), 1e-10);
}

TEST(MixtureLoss, EntropyFloor) {
  const torch::Tensor logits = torch::tensor({5.0, 0.0, -1.0}, torch::kFloat64);
  const auto entropy = [](const torch::Tensor& of) {
    return -(of.softmax(0) * of.log_softmax(0)).sum().item<double>() / std::log(3.0);
  };
  EXPECT_TRUE(with_entropy(logits, 0).equal(logits));
  EXPECT_NEAR(entropy(with_entropy(logits, 0.4)), 0.4, 1e-9);
  EXPECT_NEAR(entropy(with_entropy(logits, 1)), 1, 1e-9);
  const torch::Tensor less = with_entropy(logits, 0.4) - with_entropy(logits, 0.4).mean();
  expect_close(less / less[0], (logits - logits.mean()) / (logits - logits.mean())[0], 1e-9);
  EXPECT_TRUE(with_entropy(torch::tensor({0.2, 0.1}), 0.9).equal(torch::tensor({0.2, 0.1})));
}

TEST(MixtureLoss, RefusesWhatDoesNotFit) {
  const Mixture mixture;
  MixtureLoss none = mixture.lower;
  none.sources = 0;
  EXPECT_THROW(derivatives_of(none), InputError);
  MixtureLoss sigmoids = mixture.lower;
  sigmoids.linear.weight = RowWeight::sigmoid;
  EXPECT_THROW(derivatives_of(sigmoids), InputError);
  const auto derivatives = derivatives_of(mixture.lower)();
  for (const int64_t size : {2, 3}) {  // too few for the sources, for the strength
    EXPECT_THROW(derivatives->at(mixture.rows, mixture.x.detach().narrow(0, 0, size), mixture.y.detach()),
                 InputError);
  }
}

}  // namespace mixture_loss_test
}  // namespace bilevel
