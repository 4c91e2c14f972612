// Small problems for tests of whole runs.
#pragma once

#include <ATen/CPUGeneratorImpl.h>
#include <torch/types.h>

#include <memory>

#include "bilevel/problem/problem.h"

namespace bilevel {

/// Ridge regression y with one regularization exp(x_j) per feature, chosen on validation rows (float64):
/// random batches and, with dropout, randomness inside the lower loss. Every object has the same data and the
/// given start.
struct Ridge {
  torch::Tensor x, y;
  torch::Tensor train, train_target, valid, valid_target;
  double dropout = 0.3;

  explicit Ridge(double start = 0) {
    at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(91);
    const auto random = [&](at::IntArrayRef shape) {
      return torch::randn(shape, generator, torch::kFloat64);
    };
    const torch::Tensor truth = torch::tensor({1.0, -2.0, 0.0}, torch::kFloat64);
    train = random({12, 3});
    train_target = train.mv(truth) + 0.5 * random({12});
    valid = random({9, 3});
    valid_target = valid.mv(truth) + 0.5 * random({9});
    x = torch::full({3}, start, torch::kFloat64).requires_grad_();
    y = torch::full({3}, start, torch::kFloat64).requires_grad_();
  }

  Problem problem() const {
    return {
        .upper = {.parameters = {{"x", x}},
                  .loss = [y = y](const Batch& b) { return (b.input().mv(y) - b.targets()).square().mean(); },
                  .batches = shuffled({valid}, valid_target, {.batch_size = 4})},
        .lower = {.parameters = {{"y", y}},
                  .loss =
                      [x = x, y = y, p = dropout](const Batch& b) {
                        const torch::Tensor rows = p > 0 ? torch::dropout(b.input(), p, true) : b.input();
                        return (rows.mv(y) - b.targets()).square().mean() + (x.exp() * y.square()).sum();
                      },
                  .batches = shuffled({train}, train_target, {.batch_size = 5})}};
  }

  /// The problem whose upper loss is multiplied by `factor` from its `count`-th evaluation on.
  Problem spoiled(int count, double factor) const {
    Problem spoiled = problem();
    spoiled.upper.loss = [loss = spoiled.upper.loss, count, factor, calls = std::make_shared<int>(0)](
                             const Batch& b) { return ++*calls >= count ? loss(b) * factor : loss(b); };
    return spoiled;
  }
};

/// Both levels on one encoder tanh(rows w'), with w in x and a linear head y (float64); the lower Hessian A
/// is constant:
///   f = mean (features y - target)^2 + 0.05 ||w||^2,   g = 1/2 y'Ay - <y, mean of target * features>.
struct SharedEncoder {
  torch::Tensor w, y;
  torch::Tensor train, train_target, valid, valid_target, A;

  SharedEncoder() {
    at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(92);
    const auto random = [&](at::IntArrayRef shape) {
      return torch::randn(shape, generator, torch::kFloat64);
    };
    train = random({12, 3});
    valid = random({9, 3});
    train_target = random({12});
    valid_target = random({9});
    A = torch::tensor({{1.5, 0.4}, {0.4, 0.8}}, torch::kFloat64);
    w = random({2, 3}).requires_grad_();
    y = random({2}).requires_grad_();
  }

  /// @param split as `encode` and `feature_loss`es, else as plain losses. @param hessian with
  /// `lower_hessian`.
  /// @param batch_size of both levels; 99: every batch is the whole data set.
  Problem problem(bool split, bool hessian, int64_t batch_size) const {
    const Encode encode = [w = w](const Batch& b) { return torch::tanh(b.input().mm(w.t())); };
    const FeatureLoss f = [w = w, y = y](const torch::Tensor& features, const Batch& b) {
      return (features.mv(y) - b.targets()).square().mean() + 0.05 * w.square().sum();
    };
    const FeatureLoss g = [y = y, A = A](const torch::Tensor& features, const Batch& b) {
      return 0.5 * y.dot(A.mv(y)) - (features.mv(y) * b.targets()).mean();
    };
    Problem problem{.upper = {.parameters = {{"w", w}},
                              .batches = shuffled({valid}, valid_target, {.batch_size = batch_size})},
                    .lower = {.parameters = {{"y", y}},
                              .batches = shuffled({train}, train_target, {.batch_size = batch_size})}};
    if (split) {
      problem.encode = encode;
      problem.upper.feature_loss = f;
      problem.lower.feature_loss = g;
    } else {
      problem.upper.loss = [=](const Batch& b) { return f(encode(b), b); };
      problem.lower.loss = [=](const Batch& b) { return g(encode(b), b); };
    }
    if (hessian) problem.lower_hessian = [A = A](const torch::Tensor& v) { return A.mv(v); };
    return problem;
  }
};

}  // namespace bilevel
