#include "bilevel/glm/linear_loss.h"

#include <gtest/gtest.h>
#include <torch/autograd.h>

#include <limits>

#include "bilevel/core/error.h"
#include "bilevel/core/flat.h"
#include "bilevel/core/streams.h"
#include "bilevel/glm/linear_model.h"

namespace bilevel {
namespace {

constexpr int64_t kRows = 40, kClasses = 3;

struct Form {
  RowLoss loss;
  int64_t width;
  bool sparse, bias, units, weights;
  int64_t models;
};

std::string name_of_form(const testing::TestParamInfo<Form>& info) {
  const Form& f = info.param;
  return name_of(f.loss) + std::to_string(f.width) + (f.sparse ? "Sparse" : "") + (f.bias ? "Bias" : "") +
         (f.units ? "Units" : "Strengths") + (f.weights ? "Weighted" : "") +
         (f.models > 1 ? "Models" + std::to_string(f.models) : "");
}

/// Dense rows as compressed sparse ones.
std::vector<torch::Tensor> compressed(const torch::Tensor& dense) {
  const torch::Tensor places = dense.nonzero();
  const torch::Tensor counts = (dense != 0).sum(1);
  return {places.select(1, 1).contiguous(), dense.index({places.select(1, 0), places.select(1, 1)}),
          torch::cat({torch::zeros({1}, torch::kInt64), counts.cumsum(0)})};
}

torch::Tensor targets_of(RowLoss loss, int64_t rows) {
  if (loss == RowLoss::softmax) return torch::randint(kClasses, {rows}, torch::kInt64);
  if (loss == RowLoss::squared) return torch::randn({rows}, torch::kFloat64);
  return 2 * torch::randint(2, {rows}, torch::kFloat64) - 1;
}

torch::Tensor rows_of(int64_t rows, int64_t width) {
  return torch::randn({rows, width}, torch::kFloat64) *
         (torch::rand({rows, width}) < 0.4).to(torch::kFloat64);
}

class LinearLossTest : public testing::TestWithParam<Form> {
 protected:
  void SetUp() override {
    const Form& f = GetParam();
    const DefaultGeneratorScope randomness(3);
    const torch::Tensor dense = rows_of(kRows, f.width);
    const int64_t k = f.loss == RowLoss::softmax ? kClasses : 1,
                  size = (f.width + (f.bias ? 1 : 0)) * k * f.models;
    loss = {.rows = DesignRows(f.sparse ? compressed(dense) : std::vector{dense}, f.width, torch::kFloat64),
            .targets = targets_of(f.loss, kRows),
            .loss = f.loss,
            .outputs = k,
            .models = f.models,
            .bias = f.bias,
            .strength = 0.3};
    if (f.models > 1) loss.row_weights = torch::rand({f.models, kRows}, torch::kFloat64) - 0.2;
    if (f.units && f.models > 1)
      loss.unit_of = torch::randint(-1, 7, {f.models, kRows}, torch::kInt64);
    else if (f.units)
      loss.unit_of = torch::randint(7, {kRows}, torch::kInt64);  // several rows have one weight
    else
      loss.strength_of = torch::randint(-1, 7, {size}, torch::kInt64);
    if (!f.units && f.bias) loss.strength_factor = torch::rand({size}, torch::kFloat64);
    if (f.bias) {
      loss.centre = torch::randn({7}, torch::kFloat64);
      loss.precision = 0.7;
    }
    x = torch::randn({7}, torch::kFloat64).requires_grad_();
    y = torch::randn({size}, torch::kFloat64).requires_grad_();
    v = torch::randn({size}, torch::kFloat64);
    const torch::Tensor weights = f.weights ? torch::rand({6}, torch::kFloat64) : torch::Tensor();
    batch = Batch(data_set({loss.targets}), {5, 31, 2, 2, 17, 39}, nullptr,
                  weights);  // a row may stand there twice
    derivatives = derivatives_of(loss)();
    point = derivatives->at(batch, x.detach(), y.detach());
  }
  LinearLoss loss;
  torch::Tensor x, y, v;
  Batch batch;
  std::unique_ptr<Derivatives> derivatives;
  std::unique_ptr<PointDerivatives> point;
};

void expect_close(const torch::Tensor& found, const torch::Tensor& expected) {
  EXPECT_LT((found - expected).abs().max().item<double>(), 1e-13 * (1 + expected.abs().max().item<double>()));
}

TEST_P(LinearLossTest, IsWhatAutogradFinds) {
  const torch::Tensor value = loss.value(batch, x, y);
  EXPECT_NEAR(point->value(), value.item<double>(), 1e-13 * (1 + std::abs(value.item<double>())));
  const auto first = torch::autograd::grad({value}, {x, y}, {}, true, /*create_graph=*/true);
  const auto second = torch::autograd::grad({(first[1] * v).sum()}, {x, y}, {}, true);
  torch::Tensor in_x = zeros_of(x), in_y = zeros_of(y);
  point->gradient({&in_x}, {&in_y});
  expect_close(in_x, first[0].detach());
  expect_close(in_y, first[1].detach());
  torch::Tensor cross = zeros_of(x), hvp = zeros_of(y);
  point->products(v, {&cross}, {&hvp});
  expect_close(cross, second[0]);
  expect_close(hvp, second[1]);
  // Each by itself and with a factor, added to what is there.
  point->gradient({&in_x, -1}, {});
  point->gradient({}, {&in_y, -1});
  point->products(v, {&cross, 2}, {});
  point->products(v, {}, {&hvp, -3});
  expect_close(in_x, torch::zeros_like(in_x));
  expect_close(in_y, torch::zeros_like(in_y));
  expect_close(cross, 3 * second[0]);
  expect_close(hvp, -2 * second[1]);
}

TEST_P(LinearLossTest, FollowsX) {
  const torch::Tensor elsewhere = (x.detach() + 0.5).requires_grad_();
  const auto moved = derivatives->at(batch, elsewhere.detach(), y.detach());
  const auto gradient = torch::autograd::grad({loss.value(batch, elsewhere, y)}, {elsewhere, y});
  torch::Tensor in_x = zeros_of(x), in_y = zeros_of(y);
  moved->gradient({&in_x}, {&in_y});
  expect_close(in_x, gradient[0]);
  expect_close(in_y, gradient[1]);
}

std::vector<Form> forms() {
  std::vector<Form> all;
  for (const RowLoss one : {RowLoss::logistic, RowLoss::squared, RowLoss::softmax})
    for (const int64_t width : {5, 16, 37})
      for (int bits = 0; bits < 16; ++bits)
        for (const int64_t models : {1, 2, 5})
          all.push_back(
              {one, width, (bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0, (bits & 8) != 0, models});
  return all;
}
INSTANTIATE_TEST_SUITE_P(All, LinearLossTest, testing::ValuesIn(forms()), name_of_form);

// A run of columns that nearly all sparse rows have is multiplied as a matrix: the products are those of dense rows.
TEST(SparseRows, WithADenseRunAreTheSameRows) {
  const DefaultGeneratorScope randomness(4);
  const int64_t before = 5, run = 70, width = before + run + 6;
  torch::Tensor dense = rows_of(kRows, width);
  dense.narrow(1, before, run).copy_(torch::randn({kRows, run}, torch::kFloat64));
  dense[3].zero_();  // a row without any
  dense.narrow(1, before + 9, 1).mul_((torch::rand({kRows, 1}) < 0.9).to(torch::kFloat64));
  const DesignRows sparse(compressed(dense), width, torch::kFloat64), plain({dense}, width, torch::kFloat64);
  EXPECT_LT(sparse.block(1), std::numeric_limits<int64_t>::max()) << "there is a run";
  for (const std::vector<int64_t>& rows :
       {std::vector<int64_t>{3, 4, 5, 6}, std::vector<int64_t>{30, 2, 2, 17, 3, 9, 8, 1, 25, 31}}) {
    const RowSpan span{rows.data(), static_cast<int64_t>(rows.size()), rows.data() + rows.size()};
    const torch::Tensor numbers = torch::tensor(rows, torch::kInt64), given = dense.index_select(0, numbers);
    for (const int64_t k : {1, 3, 11, 30}) {
      const torch::Tensor w = torch::randn({width, k}, torch::kFloat64),
                          r = torch::randn({span.count, k}, torch::kFloat64);
      torch::Tensor out = torch::empty({span.count, k}, torch::kFloat64),
                    back = torch::ones({width, k}, torch::kFloat64);
      sparse.multiply(span, w.const_data_ptr<double>(), k, out.data_ptr<double>());
      expect_close(out, given.mm(w));
      sparse.add_transposed(span, r.const_data_ptr<double>(), k, back.data_ptr<double>());
      expect_close(back, 1 + given.t().mm(r));
      if (!plain.pads(k)) {
        plain.multiply(span, w.const_data_ptr<double>(), k, out.fill_(7).data_ptr<double>());
        expect_close(out, given.mm(w));
        plain.add_transposed(span, r.const_data_ptr<double>(), k, back.fill_(2).data_ptr<double>());
        expect_close(back, 2 + given.t().mm(r));
      }
      expect_close(sparse.product(numbers, w), given.mm(w));
      expect_close(sparse.weighted_squares(numbers, r), given.square().t().mm(r));
      expect_close(plain.weighted_squares(numbers, r), given.square().t().mm(r));
    }
  }
}

// Each model is what it would be alone, and none is moved by another.
TEST(LinearLossOfModels, IsTheSumOfThem) {
  const DefaultGeneratorScope randomness(9);
  const int64_t models = 11;  // more than are multiplied at a time
  const torch::Tensor dense = rows_of(kRows, 5);
  for (const bool sparse : {false, true}) {
    LinearLoss loss{.rows = DesignRows(sparse ? compressed(dense) : std::vector{dense}, 5, torch::kFloat64),
                    .targets = targets_of(RowLoss::logistic, kRows),
                    .models = models,
                    .bias = true,
                    .row_weights = torch::rand({models, kRows}, torch::kFloat64)};
    const torch::Tensor y = torch::randn({loss.size()}, torch::kFloat64), x = torch::zeros({1}, y.options());
    const Batch batch(data_set({loss.targets}), {5, 31, 2, 17, 39});
    const torch::Tensor gradient = zeros_of(y);
    const auto derivatives = derivatives_of(loss)();
    const auto point = derivatives->at(batch, x, y);
    point->gradient({}, {&gradient});
    double sum = 0;
    for (int64_t m = 0; m < models; ++m) {
      LinearLoss one = loss;
      one.models = 1;
      one.row_weights = loss.row_weights[m];
      const torch::Tensor own = loss.model_of(y, m), of_one = zeros_of(own);
      const auto alone = derivatives_of(one)();
      const auto at_own = alone->at(batch, x, own);
      sum += at_own->value();
      at_own->gradient({}, {&of_one});
      expect_close(loss.model_of(gradient, m), of_one);
    }
    EXPECT_NEAR(point->value(), sum, 1e-12);
  }
}

TEST(LinearLossOfModels, ForEachWeight) {
  LinearLoss loss{.rows = DesignRows({torch::ones({1, 2}, torch::kFloat64)}, 2, torch::kFloat64),
                  .loss = RowLoss::softmax,
                  .outputs = 2,
                  .models = 2,
                  .bias = true};
  const torch::Tensor expected = torch::tensor({3, 3, 3, 3, 4, 4, 4, 4, -1, -1, -1, -1});
  EXPECT_TRUE(torch::equal(loss.for_each_weight(torch::tensor({3, 4}), -1), expected));
  EXPECT_EQ(loss.size(), 12);
}

class LinearLossOfWeights : public testing::TestWithParam<RowWeight> {};

TEST_P(LinearLossOfWeights, IsWhatAutogradFinds) {
  const DefaultGeneratorScope randomness(6);
  const LinearLoss loss{.rows = DesignRows({rows_of(kRows, 5)}, 5, torch::kFloat64),
                        .targets = targets_of(RowLoss::softmax, kRows),
                        .loss = RowLoss::softmax,
                        .outputs = kClasses,
                        .row_weights = torch::rand({kRows}, torch::kFloat64),
                        .unit_of = torch::randint(-1, 7, {kRows}, torch::kInt64),
                        .weight = GetParam()};
  const torch::Tensor x = torch::randn({7}, torch::kFloat64).requires_grad_(),
                      y = torch::randn({5 * kClasses}, torch::kFloat64).requires_grad_(),
                      v = torch::randn_like(y);
  const Batch batch(data_set({loss.targets}), {5, 31, 2, 2, 17, 39});
  const torch::Tensor value = loss.value(batch, x, y);
  const auto first = torch::autograd::grad({value}, {x, y}, {}, true, true);
  const auto second = torch::autograd::grad({(first[1] * v).sum()}, {x, y});
  const auto derivatives = derivatives_of(loss)();
  const auto point = derivatives->at(batch, x.detach(), y.detach());
  torch::Tensor in_x = zeros_of(x), in_y = zeros_of(y), cross = zeros_of(x), hvp = zeros_of(y);
  EXPECT_NEAR(point->value(), value.item<double>(), 1e-13);
  point->gradient({&in_x}, {&in_y});
  point->products(v, {&cross}, {&hvp});
  expect_close(in_x, first[0].detach());
  expect_close(in_y, first[1].detach());
  expect_close(cross, second[0]);
  expect_close(hvp, second[1]);
}

INSTANTIATE_TEST_SUITE_P(All, LinearLossOfWeights,
                         testing::Values(RowWeight::sigmoid, RowWeight::plain, RowWeight::exponential));

TEST(LinearLossOfFloats, IsNearThatOfDoubles) {
  const DefaultGeneratorScope randomness(4);
  const torch::Tensor dense = rows_of(kRows, 123), targets = targets_of(RowLoss::logistic, kRows),
                      y = torch::randn({123}, torch::kFloat64);
  const Batch batch(data_set({targets}), {1, 2, 3, 4, 5, 6, 7});
  const auto gradient = [&](torch::ScalarType dtype) {
    const LinearLoss loss{.rows = DesignRows({dense}, 123, dtype), .targets = targets};
    const torch::Tensor at = y.to(dtype), out = zeros_of(at);
    derivatives_of(loss)()->at(batch, at, at)->gradient({}, {&out});
    return out.to(torch::kFloat64);
  };
  const torch::Tensor exact = gradient(torch::kFloat64);
  EXPECT_LT((gradient(torch::kFloat32) - exact).norm().item<double>(), 1e-6 * exact.norm().item<double>());
}

TEST(LinearLossRefuses, WhatDoesNotFit) {
  const LinearLoss loss{.rows = DesignRows({torch::ones({3, 2}, torch::kFloat64)}, 2, torch::kFloat64),
                        .targets = torch::ones({3}, torch::kFloat64),
                        .unit_of = torch::tensor({0, -2, 5})};
  const torch::Tensor x = torch::zeros({2}, torch::kFloat64), y = torch::zeros({2}, torch::kFloat64);
  const std::unique_ptr<Derivatives> derivatives = derivatives_of(loss)();
  const auto at = [&](const Rows& rows, const torch::Tensor& of_y) {
    return derivatives->at(Batch(data_set({loss.targets}), rows), x, of_y);
  };
  EXPECT_NO_THROW(at({0}, y));
  EXPECT_THROW(at({3}, y), InputError) << "there is no such row";
  EXPECT_THROW(at({1}, y), InputError) << "it has no weight";
  EXPECT_THROW(at({2}, y), InputError) << "x has no such number";
  EXPECT_THROW(at({0}, torch::zeros({3}, torch::kFloat64)), InputError);
  LinearLoss other = loss;
  other.models = 2;
  other.row_weights = torch::ones({3, 3}, torch::kFloat64);
  EXPECT_THROW(derivatives_of(other)(), InputError) << "two models, weights for three";
  other.models = 0;
  EXPECT_THROW(derivatives_of(other)(), InputError);
  other = loss;
  other.centre = torch::zeros({3}, torch::kFloat64);
  EXPECT_THROW(derivatives_of(other)()->at(Batch(data_set({loss.targets}), {0}), x, y), InputError);
  const torch::Tensor out = zeros_of(y);
  EXPECT_THROW(at({0}, y)->products(torch::zeros({3}, torch::kFloat64), {}, {&out}), InputError);
  // What lies elsewhere than it seems: every second number of a longer tensor.
  const torch::Tensor v = torch::tensor({1.0, 9.0, 2.0, 9.0}, torch::kFloat64).slice(0, 0, 4, 2),
                      same = zeros_of(y);
  at({0}, y)->products(v, {}, {&out});
  at({0}, y)->products(v.clone(), {}, {&same});
  EXPECT_TRUE(torch::equal(out, same));
}

TEST(LinearLossOfTwoPoints, EachKeepsItsStrengths) {
  const LinearLoss loss{.rows = DesignRows({torch::ones({1, 3}, torch::kFloat64)}, 3, torch::kFloat64),
                        .targets = torch::ones({1}, torch::kFloat64),
                        .strength_of = torch::arange(6).slice(0, 0, 6, 2)};  // strided
  const std::unique_ptr<Derivatives> derivatives = derivatives_of(loss)();
  const Batch batch(data_set({loss.targets}), {0});
  const torch::Tensor x = torch::zeros({5}, torch::kFloat64), y = torch::ones({3}, torch::kFloat64),
                      alone = zeros_of(y), beside = zeros_of(y);
  derivatives->at(batch, x, y)->gradient({}, {&alone});
  const auto first = derivatives->at(batch, x, y);
  const auto second = derivatives->at(batch, x + 5, y);
  first->gradient({}, {&beside});
  EXPECT_TRUE(torch::equal(alone, beside));
}

TEST(LinearLossOfSurePredictions, KeepsItsDigits) {
  const LinearLoss loss{.rows = DesignRows({torch::ones({1, 1})}, 1, torch::kFloat32),
                        .targets = torch::zeros({1}),
                        .loss = RowLoss::softmax,
                        .outputs = 2};
  const Batch batch(data_set({loss.targets}), {0});
  const auto value = [&](float a, float b) {
    return derivatives_of(loss)()->at(batch, torch::zeros({1}), torch::tensor({a, b}))->value();
  };
  EXPECT_NEAR(value(100, 88), std::log1p(std::exp(-12.0)), 1e-7);
  EXPECT_NEAR(value(1e8F, 1e8F), std::log(2.0), 1e-6);
}

TEST(LinearLossBeyondTheLoops, IsWhatAutogradFindsOnManyRows) {
  const DefaultGeneratorScope randomness(5);
  const int64_t many = 5000;  // more than the loops take
  const LinearLoss loss{.rows = DesignRows({rows_of(many, 9)}, 9, torch::kFloat64),
                        .targets = targets_of(RowLoss::logistic, many)};
  Rows shuffled_rows;
  for (int64_t i = 0; i < many; ++i) shuffled_rows.push_back((i * 7) % many);
  const torch::Tensor x = torch::zeros({1}, torch::kFloat64),
                      y = torch::randn({9}, torch::kFloat64).requires_grad_();
  const Batch batch(data_set({loss.targets}), shuffled_rows);
  const auto gradient = torch::autograd::grad({loss.value(batch, x, y)}, {y});
  const torch::Tensor out = zeros_of(y);
  derivatives_of(loss)()->at(batch, x, y.detach())->gradient({}, {&out});
  expect_close(out, gradient[0]);
}

}  // namespace
}  // namespace bilevel
