#include "bilevel/linear/exact/exact.h"

#include <ATen/CPUGeneratorImpl.h>

#include <limits>

#include "tests/support.h"

namespace bilevel {
namespace exact_test {

torch::Tensor random(at::IntArrayRef shape, uint64_t seed) {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  return torch::randn(shape, generator, torch::kFloat64);
}

LinearOperator product(const torch::Tensor& h) {
  return [h](const torch::Tensor& v) { return h.mv(v); };
}

TEST(ExactSolve, SolvesAnyRegularSystem) {
  for (const int64_t n : {1, 2, 15}) {
    const torch::Tensor h = random({n, n}, 51);  // not symmetric: the columns must not become rows
    const torch::Tensor exact = random({n}, 52);
    const LinearSolution solution = exact_solve(product(h), h.mv(exact));
    EXPECT_FALSE(solution.failed) << solution.message;
    EXPECT_LT(relative_error(solution.z, exact), 1e-11);
    EXPECT_LT(solution.residual.item<double>(), 1e-12);
    EXPECT_EQ(solution.products, n);
  }
}

TEST(ExactSolve, AnIllConditionedRegularSystemIsNotSingular) {
  const torch::Tensor h = torch::diag(torch::tensor({1.0, 1e-6, 1e-12}, torch::kFloat64));
  const LinearSolution solution = exact_solve(product(h), torch::ones({3}, torch::kFloat64));
  EXPECT_FALSE(solution.failed);
  EXPECT_LT(relative_error(solution.z, torch::tensor({1.0, 1e6, 1e12}, torch::kFloat64)), 1e-14);
}

TEST(ExactSolve, SingularSystemsFail) {
  EXPECT_TRUE(
      exact_solve(product(torch::zeros({2, 2}, torch::kFloat64)), torch::ones({2}, torch::kFloat64)).failed);
  const torch::Tensor factor = random({6, 5}, 53);
  const LinearSolution deficient =
      exact_solve(product(factor.mm(factor.t())), torch::ones({6}, torch::kFloat64));
  EXPECT_TRUE(deficient.failed) << "rank 5 of 6, hidden by round-off";
  EXPECT_CONTAINS(deficient.message, "singular");
  EXPECT_TRUE(deficient.z.isnan().all().item<bool>()) << "no zero that passes for a solution";
}

TEST(ExactSolve, NumbersThatAreNotFiniteFail) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(
      exact_solve(product(torch::eye(2, torch::kFloat64) * nan), torch::ones({2}, torch::kFloat64)).failed);
  EXPECT_TRUE(
      exact_solve(product(torch::eye(2, torch::kFloat64)), torch::full({2}, nan, torch::kFloat64)).failed);
}

TEST(ExactSolve, Float32SystemsAreSolvedInFloat64) {
  const torch::Tensor factor = random({8, 8}, 54);
  const torch::Tensor h = (factor.mm(factor.t()) + 0.1 * torch::eye(8, torch::kFloat64)).to(torch::kFloat32);
  const torch::Tensor b = random({8}, 55).to(torch::kFloat32);
  const LinearSolution solution = exact_solve(product(h), b);
  EXPECT_EQ(solution.z.scalar_type(), torch::kFloat32);
  EXPECT_LT(relative_error(solution.z, at::linalg_solve(h.to(torch::kFloat64), b.to(torch::kFloat64))), 1e-7);
}

}  // namespace exact_test
}  // namespace bilevel
