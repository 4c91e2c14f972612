#include "bilevel/linear/cg/cg.h"

#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>

#include <limits>

#include "tests/support.h"

namespace bilevel {
namespace cg_test {

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

TEST(Cg, TheCurvatureReportedIsThatOfTheDirection) {
  const torch::Tensor h = torch::diag(torch::tensor({3.0, -0.5}, torch::kFloat64));
  const LinearSolution first = conjugate_gradients(product(h), torch::tensor({0.0, 2.0}, torch::kFloat64));
  EXPECT_TRUE(first.failed);
  EXPECT_CONTAINS(first.message, "curvature -0.5 after 1 products");
  EXPECT_EQ(first.residual.item<double>(), 2) << "of z = 0";
  // Met at the second direction: z and residual are those of the first step, alpha = b'b / b'Hb = 2 / 2.5.
  const torch::Tensor b = torch::ones({2}, torch::kFloat64);
  const LinearSolution second = conjugate_gradients(product(h), b);
  EXPECT_TRUE(second.failed);
  EXPECT_CONTAINS(second.message, "after 2 products");
  EXPECT_LT(distance(second.z, 0.8 * b), 1e-15);
  EXPECT_NEAR(second.residual.item<double>(), (b - h.mv(second.z)).norm().item<double>(), 1e-14);
}

TEST(Cg, EveryIterateMinimizesTheQuadraticOnItsKrylovSpace) {
  // Catches the iterate before the last, and a step length of which only one part is rescaled.
  const torch::Tensor h = with_spectrum(torch::tensor({1.0, 2.0, 5.0, 9.0, 11.0}, torch::kFloat64), 34);
  const torch::Tensor b = torch::linspace(-1, 2, 5, torch::kFloat64);
  for (const int64_t k : {1, 2, 3, 4, 5}) {
    std::vector<torch::Tensor> powers{b};
    for (int64_t j = 1; j < k; ++j) powers.push_back(h.mv(powers.back()));
    const torch::Tensor space = torch::stack(powers, 1);  // z = space c with space' (H space c - b) = 0
    const torch::Tensor c = at::linalg_solve(space.t().mm(h).mm(space), space.t().mv(b));
    for (const double scale : {1.0, 1e-4, 1e4}) {  // scaling H scales z alone
      const LinearSolution found =
          conjugate_gradients(product(scale * h), b, {.max_iterations = k, .tolerance = 0});
      EXPECT_LT(relative_error(scale * found.z, space.mv(c)), 1e-8) << k;
      EXPECT_NEAR(found.residual.item<double>(), (b - scale * h.mv(found.z)).norm().item<double>(), 1e-10);
    }
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
  EXPECT_CONTAINS(conjugate_gradients(product(torch::eye(2, torch::kFloat64) * nan), b).message,
                  "not finite");
  for (const torch::Tensor& h : {torch::eye(2, torch::kFloat64), torch::eye(2, torch::kFloat64) * nan}) {
    EXPECT_TRUE(conjugate_gradients_normal(product(h), h.isnan().any().item<bool>() ? b : b * nan).failed);
  }
}

TEST(CgNormal, SolvesIndefiniteAndNonsymmetricSystems) {
  const torch::Tensor exact = torch::linspace(-1, 2, 6, torch::kFloat64);
  const torch::Tensor indefinite =
      with_spectrum(torch::tensor({-3.0, -1.0, 0.5, 1.0, 2.0, 4.0}, torch::kFloat64), 35);
  const LinearSolution symmetric = conjugate_gradients_normal(product(indefinite), indefinite.mv(exact));
  EXPECT_FALSE(symmetric.failed) << symmetric.message;
  EXPECT_LT(relative_error(symmetric.z, exact), 1e-8);
  EXPECT_LE(symmetric.products, 2 * 6 + 3);
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(36);
  const torch::Tensor a = torch::randn({6, 6}, generator, torch::kFloat64);
  const LinearSolution general = conjugate_gradients_normal(product(a), product(a.t()), a.mv(exact),
                                                            {.max_iterations = 100, .tolerance = 1e-12});
  EXPECT_FALSE(general.failed) << general.message;
  EXPECT_LT(relative_error(general.z, exact), 1e-9);
}

TEST(CgNormal, TwoProductsAnIterationAndOneMoreAndItsOwnResidual) {
  const torch::Tensor h = with_spectrum(torch::linspace(-2, 3, 20, torch::kFloat64), 37);
  const torch::Tensor b = torch::ones({20}, torch::kFloat64);
  double previous = b.norm().item<double>();
  for (const int64_t k : {1, 3, 6}) {
    const LinearSolution found = conjugate_gradients_normal(product(h), b, {.max_iterations = k});
    EXPECT_EQ(found.products, 2 * k + 1);
    EXPECT_NEAR(found.residual.item<double>(), (b - h.mv(found.z)).norm().item<double>(), 1e-12);
    EXPECT_LT(found.residual.item<double>(), previous) << "falls with every iteration";
    previous = found.residual.item<double>();
    EXPECT_CONTAINS(found.message, "relative residual");
    EXPECT_FALSE(found.failed);
  }
}

TEST(CgNormal, UnitsDoNotMatterInFloat32) {
  const torch::Tensor h = torch::tensor({1.0F, 2.0F, 3.0F});
  for (const double unit : {1e-6, 1.0, 1e6}) {  // of z: |H' H H' b| is beyond the range of float32's squares
    const LinearSolution found =
        conjugate_gradients_normal([&](const torch::Tensor& v) { return h * v / (unit * unit); },
                                   torch::ones({3}) / unit, {.max_iterations = 10, .tolerance = 1e-5});
    EXPECT_FALSE(found.failed) << found.message;
    EXPECT_LT(relative_error(found.z / unit, 1 / h), 1e-4) << unit;
  }
}

TEST(CgNormal, ASingularSystemWithoutSolutionFails) {
  const torch::Tensor h = torch::diag(torch::tensor({2.0, -1.0, 0.0}, torch::kFloat64));
  const LinearSolution none = conjugate_gradients_normal(product(h), torch::ones({3}, torch::kFloat64));
  EXPECT_TRUE(none.failed);
  EXPECT_CONTAINS(none.message, "singular");
  EXPECT_NEAR(none.residual.item<double>(), 1, 1e-12) << "what lies outside the range";
  // Inside the range there is one.
  const LinearSolution consistent =
      conjugate_gradients_normal(product(h), torch::tensor({2.0, 3.0, 0.0}, torch::kFloat64));
  EXPECT_FALSE(consistent.failed) << consistent.message;
  EXPECT_LT(distance(consistent.z, torch::tensor({1.0, -3.0, 0.0}, torch::kFloat64)), 1e-9);
}

}  // namespace cg_test
}  // namespace bilevel
