#include "bilevel/glm/linear_fit.h"

#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <cmath>

#include "bilevel/core/streams.h"

namespace bilevel {
namespace linear_fit_test {

struct Fitted {
  LinearLoss loss;
  Batch batch;
  torch::Tensor x;
};

Fitted softmax_of(int64_t rows) {
  const DefaultGeneratorScope randomness(3);
  Fitted of;
  of.loss = {.rows = DesignRows({torch::randn({rows, 4}, torch::kFloat64)}, 4, torch::kFloat64),
             .targets = torch::randint(3, {rows}, torch::kInt64),
             .loss = RowLoss::softmax,
             .outputs = 3,
             .bias = true,
             .row_weights = torch::rand({rows}, torch::kFloat64),
             .strength_of = torch::cat({torch::zeros({6}, torch::kInt64), torch::ones({9}, torch::kInt64)})};
  Rows all(static_cast<size_t>(rows));
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int64_t>(i);
  of.batch = Batch(data_set({of.loss.targets}), all);
  of.x = torch::tensor({std::log(0.3), std::log(0.02)}, torch::kFloat64);
  return of;
}

TEST(LinearFit, EndsWhereTheGradientIsZeroFromAnyStart) {
  const Fitted of = softmax_of(40);
  const LinearFitOptions exact{.evaluations = 200, .gradient_tolerance = 1e-9};
  const torch::Tensor zero = torch::zeros({15}, torch::kFloat64);
  const torch::Tensor y = fit_linear(of.loss, of.batch, of.x, zero, exact);
  const torch::Tensor at = y.clone().requires_grad_();
  const torch::Tensor gradient = torch::autograd::grad({of.loss.value(of.batch, of.x, at)}, {at})[0];
  EXPECT_LT(gradient.abs().max().item<double>(), 1e-8);
  const torch::Tensor elsewhere = fit_linear(of.loss, of.batch, of.x, 3 * torch::ones_like(zero), exact);
  EXPECT_LT((elsewhere - y).abs().max().item<double>(), 1e-7);
  EXPECT_TRUE(torch::equal(zero, torch::zeros_like(zero))) << "the start stays as it is";
}

// Where one class has nearly all the weight, rows of the others lie far on one side and curve the loss so little that Newton's step leads
// far beyond: of whole steps that end where the loss rises half as fast as it fell none was ever right again.
TEST(LinearFit, ComesBackFromWhereTheLossHardlyCurves) {
  const DefaultGeneratorScope randomness(5);
  constexpr int64_t kRows = 60;
  const torch::Tensor classes = torch::arange(kRows) % 3;
  const torch::Tensor rows = torch::one_hot(classes, 3).to(torch::kFloat32) + 0.3 * torch::randn({kRows, 3});
  Rows all(kRows);
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int64_t>(i);
  const Batch batch(data_set({classes}), all);
  const auto fitted = [&](std::vector<float> of_class, double strength, const torch::Tensor& start) {
    LinearLoss loss{.rows = DesignRows({rows}, 3, torch::kFloat32),
                    .targets = classes,
                    .loss = RowLoss::softmax,
                    .outputs = 3,
                    .bias = true,
                    .row_weights = torch::tensor(of_class).index_select(0, classes)};
    loss.strength_of = torch::cat({torch::zeros({9}, torch::kInt64), torch::full({3}, -1, torch::kInt64)});
    return fit_linear(loss, batch, torch::full({1}, std::log(strength)), start, {.evaluations = 200});
  };
  const torch::Tensor zero = torch::zeros({12});
  torch::Tensor y = zero;
  for (const std::vector<float>& weights : {std::vector<float>{0.04F, 0.06F, 2.9F},
                                            {0.2F, 2.3F, 0.5F},
                                            {1.9F, 0.6F, 0.5F},
                                            {2.99F, 0.005F, 0.005F}})
    y = fitted(weights, 10, y);
  const std::vector<float> even{1, 1, 1};
  EXPECT_LT((fitted(even, 0.1, y) - fitted(even, 0.1, zero)).slice(0, 0, 9).abs().max().item<double>(), 0.02);
}

TEST(LinearFit, EndsWhereItIsToldTo) {
  const Fitted of = softmax_of(40);
  int64_t last = -1;
  const auto go_on = [&](int64_t evaluations) { return (last = evaluations) < 2; };
  const torch::Tensor zero = torch::zeros({15}, torch::kFloat64);
  fit_linear(of.loss, of.batch, of.x, zero, {.go_on = go_on});
  EXPECT_GE(last, 2);
  EXPECT_LT(last, 10);
  const auto never = [](int64_t) { return false; };
  EXPECT_TRUE(torch::equal(fit_linear(of.loss, of.batch, of.x, zero, {.go_on = never}), zero));
}

// What one model learns leaves the others as they are, to the last bit.
TEST(LinearFit, ModelsKnowNothingOfEachOther) {
  const DefaultGeneratorScope randomness(11);
  LinearLoss loss{.rows = DesignRows({torch::randn({90, 4})}, 4, torch::kFloat32),
                  .targets = torch::randint(3, {90}, torch::kInt64),
                  .loss = RowLoss::softmax,
                  .outputs = 3,
                  .models = 3,
                  .bias = true,
                  .row_weights = torch::rand({3, 90}),
                  .strength = 0.01};
  Rows all(90);
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int64_t>(i);
  const Batch batch(data_set({loss.targets}), all);
  const torch::Tensor x = torch::zeros({1}), zero = torch::zeros({loss.size()});
  const torch::Tensor before = fit_linear(loss, batch, x, zero);
  loss.row_weights = loss.row_weights.clone();
  loss.row_weights[1] *= torch::linspace(0, 50, 90);
  const torch::Tensor after = fit_linear(loss, batch, x, zero);
  EXPECT_TRUE(torch::equal(loss.model_of(after, 0), loss.model_of(before, 0)));
  EXPECT_FALSE(torch::equal(loss.model_of(after, 1), loss.model_of(before, 1)));
  EXPECT_TRUE(torch::equal(loss.model_of(after, 2), loss.model_of(before, 2)));
}

// Features of lengths from 1 to 10,000 are no harder than of one.
TEST(LinearFit, DoesNotMindUnits) {
  const DefaultGeneratorScope randomness(4);
  const torch::Tensor dense = torch::randn({200, 5}, torch::kFloat64),
                      units = torch::tensor({1.0, 10.0, 100.0, 1000.0, 1e4}, torch::kFloat64),
                      targets = 2 * torch::randint(2, {200}, torch::kFloat64) - 1;
  Rows all(200);
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int64_t>(i);
  const auto evaluations = [&](const torch::Tensor& of, const torch::Tensor& scale) {
    LinearLoss loss{.rows = DesignRows({of * scale}, 5, torch::kFloat64), .targets = targets};
    loss.strength_of = torch::zeros({5}, torch::kInt64);
    loss.strength_factor = scale.square();
    int64_t last = 0;
    const torch::Tensor y =
        fit_linear(loss, Batch(data_set({targets}), all), torch::full({1}, -3.0, scale.options()),
                   torch::zeros({5}, torch::kFloat64),
                   {.gradient_tolerance = 1e-8, .go_on = [&](int64_t made) { return (last = made) >= 0; }});
    return std::pair{last, y * scale};
  };
  const auto [plain, y] = evaluations(dense, torch::ones_like(units));
  const auto [scaled, same] = evaluations(dense, units);
  EXPECT_EQ(plain, scaled);
  EXPECT_LT((y - same).abs().max().item<double>(), 1e-9);
}

TEST(LinearFit, BoundsTheCurvature) {
  const DefaultGeneratorScope randomness(8);
  const torch::Tensor dense = torch::randn({30, 3}, torch::kFloat64);
  const torch::Tensor places = dense.nonzero();
  for (const bool sparse : {false, true}) {
    const std::vector<torch::Tensor> compressed{places.select(1, 1).contiguous(), dense.flatten(),
                                                torch::arange(0, 91, 3)};
    LinearLoss loss{.rows = DesignRows(sparse ? compressed : std::vector{dense}, 3, torch::kFloat64),
                    .targets = torch::rand({30}, torch::kFloat64),
                    .loss = RowLoss::squared,
                    .models = 2,
                    .bias = true,
                    .row_weights = torch::rand({2, 30}, torch::kFloat64),
                    .strength = 0.2};
    Rows some{4, 7, 7, 29};
    const Batch batch(data_set({loss.targets}), some, nullptr, torch::rand({4}, torch::kFloat64));
    const torch::Tensor y = torch::randn({loss.size()}, torch::kFloat64).requires_grad_(),
                        x = torch::zeros({1}, torch::kFloat64);
    const torch::Tensor gradient = torch::autograd::grad({loss.value(batch, x, y)}, {y}, {}, true, true)[0];
    const torch::Tensor bounds = loss.curvature_bounds(batch, x);
    for (int64_t j = 0; j < loss.size(); ++j) {  // of a squared loss they are the diagonal
      const torch::Tensor row = torch::autograd::grad({gradient[j]}, {y}, {}, true)[0];
      EXPECT_NEAR(bounds[j].item<double>(), row[j].item<double>(), 1e-12);
    }
  }
}

}  // namespace linear_fit_test
}  // namespace bilevel
