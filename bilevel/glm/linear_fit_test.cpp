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
  const LinearFitOptions exact{.iterations = 200, .gradient_tolerance = 1e-9};
  const torch::Tensor zero = torch::zeros({15}, torch::kFloat64);
  const torch::Tensor y = fit_linear(of.loss, of.batch, of.x, zero, exact);
  const torch::Tensor at = y.clone().requires_grad_();
  const torch::Tensor gradient = torch::autograd::grad({of.loss.value(of.batch, of.x, at)}, {at})[0];
  EXPECT_LT(gradient.abs().max().item<double>(), 1e-6);
  const torch::Tensor elsewhere = fit_linear(of.loss, of.batch, of.x, 3 * torch::ones_like(zero), exact);
  EXPECT_LT((elsewhere - y).abs().max().item<double>(), 1e-4);
  EXPECT_TRUE(torch::equal(zero, torch::zeros_like(zero))) << "the start stays as it is";
}

TEST(LinearFit, EndsWhereItIsToldTo) {
  const Fitted of = softmax_of(40);
  int64_t last = -1;
  const auto go_on = [&](int64_t evaluations) { return (last = evaluations) < 2; };
  fit_linear(of.loss, of.batch, of.x, torch::zeros({15}, torch::kFloat64), {.go_on = go_on});
  EXPECT_EQ(last, 2);
}

}  // namespace linear_fit_test
}  // namespace bilevel
