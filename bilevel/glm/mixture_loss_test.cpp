#include "bilevel/glm/mixture_loss.h"

#include <ATen/ops/linalg_solve.h>
#include <gtest/gtest.h>
#include <torch/autograd.h>

#include "bilevel/core/error.h"
#include "bilevel/core/flat.h"
#include "bilevel/core/streams.h"

namespace bilevel {
namespace mixture_loss_test {

constexpr int64_t kRows = 60, kWidth = 4, kClasses = 3, kSources = 3, kModels = 2;

/// Two models on three sources, whose last rows the second one does not see.
struct Mixture {
  MixtureLoss lower, upper;
  torch::Tensor x, y;
  Batch rows;

  Mixture() {
    const DefaultGeneratorScope randomness(5);
    const torch::Tensor dense = torch::randn({kRows, kWidth}, torch::kFloat64),
                        targets = torch::randint(kClasses, {kRows}, torch::kInt64);
    lower.rows = {.rows = DesignRows({dense}, kWidth, torch::kFloat64),
                  .targets = targets,
                  .loss = RowLoss::softmax,
                  .outputs = kClasses,
                  .bias = true};
    upper.rows = lower.rows;
    const torch::Tensor source = torch::arange(kRows) % kSources, unseen = torch::arange(kRows) >= 50;
    for (int64_t k = 0; k < kModels; ++k) {
      torch::Tensor own = source.clone();
      if (k == 1) own.masked_fill_(unseen, kSources);
      const torch::Tensor counts = torch::bincount(own, {}, kSources + 1).narrow(0, 0, kSources);
      lower.models.push_back({own, kRows / counts.to(torch::kFloat64)});
      upper.models.push_back({torch::full({kRows}, kSources).masked_fill_(unseen == (k == 1), 0),
                              torch::ones({kSources}, torch::kFloat64)});
    }
    upper.weighed = false;
    upper.centre = torch::tensor({0.0, 0.0, 0.0, -1.0}, torch::kFloat64);
    upper.prior = 0.2;
    lower.penalty_factors = 0.5 + torch::rand({kWidth * kClasses}, torch::kFloat64);
    x = torch::tensor({0.4, -0.3, 0.1, -1.2}, torch::kFloat64).requires_grad_();
    y = torch::randn({kModels * lower.model_size()}, torch::kFloat64).requires_grad_();
    std::vector<int64_t> all(kRows);
    for (int64_t i = 0; i < kRows; ++i) all[static_cast<size_t>(i)] = i;
    rows = Batch(data_set({targets}), all);
  }

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
  mixture.lower.penalty_factors = torch::Tensor();
  const torch::Tensor p = mixture.x.detach().narrow(0, 0, kSources).softmax(0);
  double expected = 0;
  for (int64_t k = 0; k < kModels; ++k) {
    for (int64_t s = 0; s < kSources; ++s) {
      const torch::Tensor seen = (mixture.lower.models[static_cast<size_t>(k)].source_of == s).nonzero();
      const torch::Tensor numbers = seen.squeeze(1).contiguous();
      const Batch own(
          data_set({mixture.lower.rows.targets}),
          Rows(numbers.const_data_ptr<int64_t>(), numbers.const_data_ptr<int64_t>() + numbers.numel()));
      const int64_t size = mixture.lower.model_size();
      expected +=
          p[s].item<double>() *
          mixture.lower.rows.value(own, {}, mixture.y.detach().narrow(0, k * size, size)).item<double>();
    }
  }
  EXPECT_NEAR(mixture.lower.value(mixture.rows, mixture.x, mixture.y).item<double>(), expected, 1e-12);
}

TEST(MixtureLoss, DerivativesAreWhatAutogradFinds) {
  const Mixture mixture;
  for (const MixtureLoss* loss : {&mixture.lower, &mixture.upper}) {
    const DefaultGeneratorScope randomness(7);
    const torch::Tensor v = torch::randn({mixture.y.numel()}, torch::kFloat64),
                        value = loss->value(mixture.rows, mixture.x, mixture.y);
    const auto first =
        torch::autograd::grad({value}, {mixture.x, mixture.y}, {}, true, /*create_graph=*/true);
    const auto second = torch::autograd::grad({(first[1] * v).sum()}, {mixture.x, mixture.y}, {}, true, false,
                                              /*allow_unused=*/true);
    const auto derivatives = derivatives_of(*loss)();
    const auto point = derivatives->at(mixture.rows, mixture.x.detach(), mixture.y.detach());
    EXPECT_NEAR(point->value(), value.item<double>(), 1e-12);
    torch::Tensor in_x = zeros_of(mixture.x), in_y = zeros_of(mixture.y), cross = zeros_of(mixture.x),
                  hvp = zeros_of(mixture.y);
    point->gradient({&in_x, 2}, {&in_y, -1});
    point->products(v, {&cross, 3}, {&hvp});
    expect_close(in_x, 2 * first[0].detach(), 1e-12);
    expect_close(in_y, -first[1].detach(), 1e-12);
    expect_close(cross, second[0].defined() ? 3 * second[0] : zeros_of(mixture.x), 1e-12);
    expect_close(hvp, second[1], 1e-12);
  }
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
    Mixture alone = mixture;
    alone.lower.penalty_factors = torch::Tensor();
    for (MixedRows& model : alone.lower.models) {
      torch::Tensor factor = torch::zeros({kSources}, torch::kFloat64);
      factor[s] = model.factors[s];
      model.factors = factor;
    }
    alone.lower.weighed = false;
    const torch::Tensor of_source = zeros_of(y);
    derivatives_of(alone.lower)()->at(alone.rows, alone.x.detach(), y)->gradient({}, {&of_source});
    c[s] = of_source.dot(z);
  }
  const torch::Tensor prior =
      mixture.upper.prior * (mixture.x.detach() - mixture.upper.centre).narrow(0, 0, kSources);
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
  none.models.clear();
  EXPECT_THROW(derivatives_of(none), InputError);
  MixtureLoss fewer = mixture.lower;
  fewer.models[1].factors = torch::ones({2}, torch::kFloat64);
  EXPECT_THROW(derivatives_of(fewer), InputError);
  MixtureLoss centre = mixture.lower;
  centre.centre = torch::zeros({2}, torch::kFloat64);
  EXPECT_THROW(derivatives_of(centre), InputError);
  const auto derivatives = derivatives_of(mixture.lower)();
  EXPECT_THROW(derivatives->at(mixture.rows, mixture.x.detach().narrow(0, 0, 3), mixture.y.detach()),
               InputError);
}

}  // namespace mixture_loss_test
}  // namespace bilevel
