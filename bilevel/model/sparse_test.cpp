#include "bilevel/model/sparse.h"

#include <gtest/gtest.h>
#include <torch/autograd.h>
#include <torch/types.h>

#include "bilevel/core/error.h"

namespace bilevel {
namespace {

using torch::Tensor;

/// Three rows of width 5: {1: 2, 4: -1, 1: 0.5}, {}, {0: 3}.
std::vector<Tensor> rows() {
  return {torch::tensor({1, 4, 1, 0}, torch::kLong), torch::tensor({2.0, -1.0, 0.5, 3.0}, torch::kDouble),
          torch::tensor({0, 3, 3, 4}, torch::kLong)};
}

Tensor dense_rows() {
  Tensor x = torch::zeros({3, 5}, torch::kDouble);
  x[0][1] = 2.5;
  x[0][4] = -1;
  x[2][0] = 3;
  return x;
}

TEST(SparseMatmul, EqualsTheDenseProduct) {
  torch::manual_seed(1);
  for (const int64_t outputs : {1, 3}) {
    const Tensor weight = torch::randn({5, outputs}, torch::kDouble),
                 right = torch::randn({3, outputs}, torch::kDouble);
    EXPECT_TRUE(torch::allclose(sparse_matmul(rows(), weight), dense_rows().mm(weight), 0, 1e-14));
    EXPECT_TRUE(
        torch::allclose(sparse_transposed_matmul(rows(), right, 5), dense_rows().t().mm(right), 0, 1e-14));
  }
}

TEST(SparseMatmul, DifferentiatesTwice) {
  torch::manual_seed(2);
  const Tensor weight = torch::randn({5, 2}, torch::dtype(torch::kDouble).requires_grad(true));
  const auto second = [&](const Tensor& product) {
    const Tensor gradient = torch::autograd::grad({product.pow(3).sum()}, {weight}, {}, true, true)[0];
    return torch::autograd::grad({gradient.pow(2).sum()}, {weight})[0];
  };
  EXPECT_TRUE(
      torch::allclose(second(sparse_matmul(rows(), weight)), second(dense_rows().mm(weight)), 1e-12, 1e-12));
}

TEST(SparseMatmul, TakesTheDtypeOfTheWeights) {
  EXPECT_EQ(sparse_matmul(rows(), torch::ones({5, 1})).dtype(), torch::kFloat);
}

TEST(SparseMatmul, RefusesWhatDoesNotFit) {
  const Tensor weight = torch::ones({5, 1}, torch::kDouble);
  const auto refused = [&](auto change) {
    std::vector<Tensor> bad = rows();
    change(bad);
    EXPECT_THROW(sparse_matmul(bad, weight), InputError);
  };
  refused([](auto& s) { s[0][1] = 5; });
  refused([](auto& s) { s[0][1] = -1; });
  refused([](auto& s) { s[2][3] = 3; });
  refused([](auto& s) { s[2][1] = 4, s[2][2] = 2; });
  refused([](auto& s) { s[1] = s[1].slice(0, 0, 2); });
  refused([](auto& s) { s.pop_back(); });
  refused([](auto& s) { s[0] = s[0].to(torch::kInt); });
  EXPECT_THROW(sparse_transposed_matmul(rows(), torch::ones({2, 1}, torch::kDouble), 5), InputError);
}

}  // namespace
}  // namespace bilevel
