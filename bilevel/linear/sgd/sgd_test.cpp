#include "bilevel/linear/sgd/sgd.h"

#include <ATen/CPUGeneratorImpl.h>

#include "bilevel/linear/neumann/neumann.h"
#include "tests/support.h"

namespace bilevel {
namespace sgd_test {

const torch::Tensor h =
    torch::tensor({{2.0, 0.5, 0.0}, {0.5, 1.0, 0.25}, {0.0, 0.25, 0.75}}, torch::kFloat64);
const torch::Tensor b = torch::tensor({1.0, -2.0, 0.5}, torch::kFloat64);

torch::Tensor product(const torch::Tensor& v) { return h.mv(v); }

TEST(LinearSgd, TheErrorContractsByItsMatrixEveryStep) {
  const torch::Tensor exact = at::linalg_solve(h, b);
  const torch::Tensor start = torch::tensor({3.0, 1.0, -1.0}, torch::kFloat64);
  torch::Tensor error = start - exact;  // z_k - z* = (I - step H)^k (z_0 - z*)
  for (int64_t steps = 0; steps < 12; ++steps) {
    const LinearSolution solution = linear_sgd(product, b, start, 0.4, steps);
    EXPECT_LT(distance(solution.z - exact, error), 1e-13);
    EXPECT_EQ(solution.products, steps);
    error = error - 0.4 * h.mv(error);
  }
  EXPECT_LT(relative_error(linear_sgd(product, b, start, 0.4, 400).z, exact), 1e-12);
}

TEST(LinearSgd, FromZeroItIsTheNeumannSum) {
  for (const int64_t terms : {1, 2, 9}) {
    EXPECT_LT(distance(linear_sgd(product, b, torch::zeros_like(b), 0.4, terms).z,
                       neumann(product, b, 0.4, terms).z),
              1e-14);
  }
}

TEST(LinearSgd, TheResidualIsThatOfTheLastIterateButOne) {
  const torch::Tensor start = torch::ones_like(b);
  const torch::Tensor before = linear_sgd(product, b, start, 0.4, 6).z;
  EXPECT_NEAR(linear_sgd(product, b, start, 0.4, 7).residual.item<double>(),
              (h.mv(before) - b).norm().item<double>(), 1e-14);
}

TEST(LinearSgd, TheStartIsNotChanged) {
  const torch::Tensor start = torch::ones_like(b);
  linear_sgd(product, b, start, 0.4, 3);
  EXPECT_EQ(distance(start, torch::ones_like(b)), 0);
}

TEST(LinearSgd, FreshSamplesGiveTheSameMean) {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(41);
  // H + noise of mean zero, independent at every product: E z_k is the deterministic z_k, because z_k is
  // independent of the next sample.
  const auto noisy = [&](const torch::Tensor& v) {
    return h.mv(v) + 0.5 * torch::randn({3, 3}, generator, torch::kFloat64).mv(v);
  };
  const int64_t draws = 20000;
  torch::Tensor sum = torch::zeros_like(b);
  torch::Tensor squares = torch::zeros_like(b);
  for (int64_t i = 0; i < draws; ++i) {
    const torch::Tensor z = linear_sgd(noisy, b, torch::ones_like(b), 0.4, 4).z;
    sum += z;
    squares += z * z;
  }
  const torch::Tensor mean = sum / draws;
  const torch::Tensor standard_error = ((squares / draws - mean * mean) / draws).sqrt();
  const torch::Tensor expected = linear_sgd(product, b, torch::ones_like(b), 0.4, 4).z;
  EXPECT_LT(((mean - expected) / standard_error).abs().max().item<double>(), 4);
}

}  // namespace sgd_test
}  // namespace bilevel
