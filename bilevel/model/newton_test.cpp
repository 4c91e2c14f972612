#include "bilevel/model/newton.h"

#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <cmath>

namespace bilevel {
namespace newton_test {

torch::Tensor positive_definite(int64_t n, double smallest, double largest) {
  at::Generator random = at::make_generator<at::CPUGeneratorImpl>(3);
  const torch::Tensor q = std::get<0>(at::linalg_qr(torch::randn({n, n}, random, torch::kFloat64)));
  const torch::Tensor values =
      torch::logspace(std::log10(smallest), std::log10(largest), n, 10.0, torch::kFloat64);
  return q.mm(torch::diag(values)).mm(q.t());
}

TEST(ConjugateGradients, ReachTheAskedResidual) {
  const torch::Tensor h = positive_definite(30, 1e-2, 1e2);
  at::Generator random = at::make_generator<at::CPUGeneratorImpl>(4);
  const torch::Tensor b = torch::randn({30}, random, torch::kFloat64);
  const auto product = [&](const torch::Tensor& v) { return h.mv(v); };
  for (const double tolerance : {1e-2, 1e-6, 1e-12}) {
    const torch::Tensor z = solve_by_conjugate_gradients(product, h.diagonal(), b, tolerance);
    EXPECT_LE((h.mv(z) - b).norm().item<double>(), 1.01 * tolerance * b.norm().item<double>());
  }
  const torch::Tensor z = solve_by_conjugate_gradients(product, h.diagonal(), b, 0);
  EXPECT_LT((z - at::linalg_solve(h, b)).norm().item<double>(), 1e-9);
  EXPECT_EQ(
      solve_by_conjugate_gradients(product, h.diagonal(), torch::zeros_like(b), 1e-3).norm().item<double>(),
      0);
}

/// sum log cosh(H y - c) + ||y||^2/2 * small: steps of full length overshoot far from the minimum.
ConvexFunction log_cosh(const torch::Tensor& h, const torch::Tensor& c, double small) {
  return {[=](const torch::Tensor& y) {
            const torch::Tensor u = h.mv(y) - c;
            const double value =
                (u.abs() + torch::log1p(torch::exp(-2 * u.abs())) - std::log(2.0)).sum().item<double>() +
                0.5 * small * y.square().sum().item<double>();
            return std::pair{value, h.mv(torch::tanh(u)) + small * y};
          },
          [=](const torch::Tensor& y, const torch::Tensor& b, double) {
            const torch::Tensor curvature = 1 - torch::tanh(h.mv(y) - c).square();
            return at::linalg_solve(
                h.mm(torch::diag(curvature)).mm(h) + small * torch::eye(b.numel(), torch::kFloat64), b);
          }};
}

TEST(Minimize, ReachesRoundOffFromFarAway) {
  const torch::Tensor h = positive_definite(6, 0.5, 5);
  const torch::Tensor c = torch::tensor({3.0, -1.0, 0.5, 2.0, -4.0, 0.0}, torch::kFloat64);
  const ConvexFunction function = log_cosh(h, c, 1e-3);
  for (const double start : {0.0, 1.0, -30.0}) {
    const torch::Tensor y = minimize(function, torch::full({6}, start, torch::kFloat64));
    EXPECT_LT(function.value_and_gradient(y).second.norm().item<double>(), 1e-12) << start;
  }
}

TEST(Minimize, SolvesAQuadratic) {
  const torch::Tensor h = positive_definite(5, 1e-3, 1e3);
  const torch::Tensor c = torch::ones({5}, torch::kFloat64);
  const ConvexFunction function{
      [&](const torch::Tensor& y) {
        return std::pair{(0.5 * y.dot(h.mv(y)) - c.dot(y)).item<double>(), h.mv(y) - c};
      },
      [&](const torch::Tensor&, const torch::Tensor& b, double) { return at::linalg_solve(h, b); }};
  const torch::Tensor expected = at::linalg_solve(h, c);
  const torch::Tensor found = minimize(function, torch::zeros({5}, torch::kFloat64));
  EXPECT_LT(((found - expected).norm() / expected.norm()).item<double>(), 1e-9);
}

TEST(Minimize, SaysNaNWhereThereIsNoMinimum) {
  const ConvexFunction line{[](const torch::Tensor& y) {
                              return std::pair{y.sum().item<double>(), torch::ones_like(y)};
                            },
                            [](const torch::Tensor&, const torch::Tensor& b, double) { return b; }};
  EXPECT_TRUE(minimize(line, torch::zeros({2}, torch::kFloat64)).isnan().all().item<bool>());
  const ConvexFunction broken{[](const torch::Tensor& y) {
                                return std::pair{static_cast<double>(NAN), torch::full_like(y, NAN)};
                              },
                              [](const torch::Tensor&, const torch::Tensor& b, double) { return b; }};
  EXPECT_TRUE(minimize(broken, torch::zeros({2}, torch::kFloat64)).isnan().all().item<bool>());
}

}  // namespace newton_test
}  // namespace bilevel
