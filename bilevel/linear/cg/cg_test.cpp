#include "bilevel/linear/cg/cg.h"

#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "tests/support.h"

namespace bilevel {
namespace {

torch::Tensor with_spectrum(const torch::Tensor& eigenvalues, uint64_t seed) {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  const int64_t n = eigenvalues.numel();
  const torch::Tensor q = std::get<0>(at::linalg_qr(torch::randn({n, n}, generator, torch::kFloat64)));
  return q.mm(torch::diag(eigenvalues)).mm(q.t());
}

LinearOperator product(const torch::Tensor& h) {
  return [h](const torch::Tensor& v) { return h.mv(v); };
}

class CgConditioning : public ::testing::TestWithParam<double> {};

TEST_P(CgConditioning, SolvesSymmetricPositiveDefiniteSystems) {
  const double condition = GetParam();
  for (const int64_t n : {1, 2, 20}) {
    const torch::Tensor spectrum = torch::pow(condition, torch::linspace(0, 1, n, torch::kFloat64));
    const torch::Tensor h = with_spectrum(spectrum, 31);
    const torch::Tensor exact = torch::linspace(-1, 2, n, torch::kFloat64) + 0.1;
    const torch::Tensor b = h.mv(exact);
    const LinearSolution solution =
        conjugate_gradients(product(h), b, {.max_iterations = 40 * n, .tolerance = 1e-13});
    EXPECT_FALSE(solution.failed) << solution.message;
    EXPECT_EQ(solution.message, "");
    // ||z - z*|| <= ||H^-1|| ||r||, plus the round-off of b itself.
    EXPECT_LT((h.mv(solution.z) - b).norm().item<double>(), 1e-12 * b.norm().item<double>());
    EXPECT_LT(relative_error(solution.z, exact), 1e-12 * condition);
  }
}

INSTANTIATE_TEST_SUITE_P(Conditions, CgConditioning, ::testing::Values(1.0, 10.0, 1e3, 1e6));

TEST(Cg, NeedsAsManyProductsAsThereAreDistinctEigenvalues) {
  const torch::Tensor h = with_spectrum(torch::tensor({2.0, 2.0, 5.0, 5.0, 9.0, 9.0}, torch::kFloat64), 32);
  const LinearSolution solution = conjugate_gradients(product(h), torch::ones({6}, torch::kFloat64));
  EXPECT_EQ(solution.products, 3);
  EXPECT_LT(solution.residual.item<double>(), 1e-9);
}

TEST(Cg, ZeroRightHandSideNeedsNoProduct) {
  const LinearSolution solution =
      conjugate_gradients(product(torch::eye(3, torch::kFloat64)), torch::zeros({3}, torch::kFloat64));
  EXPECT_EQ(solution.products, 0);
  EXPECT_EQ(solution.z.abs().sum().item<double>(), 0);
  EXPECT_FALSE(solution.failed);
  EXPECT_EQ(solution.message, "");
}

TEST(Cg, NegativeAndZeroCurvatureFail) {
  for (const double curvature : {-0.5, 0.0}) {
    const torch::Tensor h = torch::diag(torch::tensor({1.0, curvature}, torch::kFloat64));
    const LinearSolution solution =
        conjugate_gradients(product(h), torch::tensor({1.0, 1.0}, torch::kFloat64));
    EXPECT_TRUE(solution.failed) << curvature;
    EXPECT_CONTAINS(solution.message, "not positive definite");
  }
}

TEST(Cg, TooFewIterationsAreSaid) {
  const torch::Tensor h = with_spectrum(torch::pow(1e4, torch::linspace(0, 1, 30, torch::kFloat64)), 33);
  const torch::Tensor b = torch::ones({30}, torch::kFloat64);
  const LinearSolution solution = conjugate_gradients(product(h), b, {.max_iterations = 5});
  EXPECT_FALSE(solution.failed) << "an approximation may be used";
  EXPECT_CONTAINS(solution.message, "after 5 products");
  EXPECT_NEAR(solution.residual.item<double>(), (b - h.mv(solution.z)).norm().item<double>(), 1e-9);
  const LinearSolution never = conjugate_gradients(product(h), b, {.max_iterations = 3, .tolerance = 0});
  EXPECT_CONTAINS(never.message,
                  fmt::format("relative residual of {:.3g} ", (never.residual / b.norm()).item<double>()));
}

TEST(Cg, NumbersThatAreNotFiniteFail) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const torch::Tensor b = torch::ones({2}, torch::kFloat64);
  EXPECT_TRUE(conjugate_gradients(product(torch::eye(2, torch::kFloat64)), b * nan).failed);
  EXPECT_TRUE(conjugate_gradients(product(torch::eye(2, torch::kFloat64) * nan), b).failed);
  EXPECT_TRUE(conjugate_gradients(product(torch::eye(2, torch::kFloat64) * HUGE_VAL), b).failed);
}

}  // namespace
}  // namespace bilevel
