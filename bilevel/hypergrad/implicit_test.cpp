#include "bilevel/hypergrad/implicit.h"

#include <cmath>

#include "bilevel/linear/cg/cg.h"
#include "bilevel/linear/exact/exact.h"
#include "bilevel/linear/neumann/neumann.h"
#include "bilevel/linear/sgd/sgd.h"
#include "bilevel/task/p1/p1.h"
#include "bilevel/task/quadratic/quadratic.h"
#include "tests/support.h"

namespace bilevel {
namespace {

using torch::Tensor;

/// The estimate at the present point, with the linear system solved by `solve(H, b)`.
Hypergradient estimate(Oracles& oracles,
                       const std::function<LinearSolution(const LinearOperator&, const Tensor&)>& solve) {
  auto [upper, lower] = oracles.points(oracles.upper().draw("test"), oracles.lower().draw("test"));
  const LinearOperator hessian = point_hessian(lower);
  return implicit_hypergradient(oracles, upper, lower, [&](const Tensor& b) { return solve(hessian, b); });
}

/// (I - step A)^power v.
Tensor contracted(const Tensor& matrix, Tensor v, double step, int64_t power) {
  for (int64_t k = 0; k < power; ++k) v = v - step * matrix.mv(v);
  return v;
}

struct Case {
  int64_t upper_size, lower_size;
  double mu, l;
  friend std::ostream& operator<<(std::ostream& out, const Case& c) {
    return out << c.upper_size << "x" << c.lower_size << " in [" << c.mu << ", " << c.l << "]";
  }
};

class OnQuadratics : public ::testing::TestWithParam<Case> {
 protected:
  OnQuadratics()
      : quadratic_({.upper_size = GetParam().upper_size,
                    .lower_size = GetParam().lower_size,
                    .lower_curvature_min = GetParam().mu,
                    .lower_curvature_max = GetParam().l,
                    .seed = 81}),
        oracles_(quadratic_.problem(), 1) {
    at::Generator& generator = oracles_.streams().stream("point");
    oracles_.x().assign(torch::randn({GetParam().upper_size}, generator, torch::kFloat64));
    oracles_.y().assign(torch::randn({GetParam().lower_size}, generator, torch::kFloat64));
    x_ = oracles_.x().flat().clone();
    y_ = oracles_.y().flat().clone();
    b_ = quadratic_.R.mv(y_) + quadratic_.S.t().mv(x_) + quadratic_.r;
    expected_ = quadratic_.hypergradient(x_, y_);
  }

  Quadratic quadratic_;
  Oracles oracles_;
  Tensor x_, y_, b_, expected_;
};

TEST_P(OnQuadratics, ExactAndCgAreTheClosedForm) {
  const Hypergradient exact = estimate(oracles_, exact_solve);
  EXPECT_LT(relative_error(exact.value, expected_), 1e-8);
  EXPECT_LT(relative_error(exact.linear.z, quadratic_.linear_variable(x_, y_)), 1e-8);
  const Hypergradient cg = estimate(oracles_, [](const LinearOperator& h, const Tensor& b) {
    return conjugate_gradients(h, b, {.max_iterations = 2000, .tolerance = 1e-14});
  });
  EXPECT_FALSE(cg.linear.failed) << cg.linear.message;
  EXPECT_LT(relative_error(cg.value, expected_), 1e-8);
  const Tensor f = 0.5 * x_.dot(quadratic_.P.mv(x_)) + 0.5 * y_.dot(quadratic_.R.mv(y_)) +
                   x_.dot(quadratic_.S.mv(y_)) + quadratic_.p.dot(x_) + quadratic_.r.dot(y_);
  EXPECT_NEAR(cg.upper_loss.item<double>(), f.item<double>(), 1e-12 * f.abs().item<double>());
}

TEST_P(OnQuadratics, NeumannAndSgdMissByTheirBiasExactly) {
  const double step = 1 / GetParam().l;
  const Tensor z = quadratic_.linear_variable(x_, y_);
  // The terms whose size sets the round-off of the identity.
  const double scale = expected_.norm().item<double>() + quadratic_.C.mv(z).norm().item<double>();
  for (const int64_t terms : {1, 2, 7, 50}) {
    // Error of the hypergradient: J (I - eta H)^Q H^-1 b, with J = C.
    const Tensor bias = quadratic_.C.mv(contracted(quadratic_.A, z, step, terms));
    const Tensor by_neumann = estimate(oracles_, [&](const LinearOperator& h, const Tensor& b) {
                                return neumann(h, b, step, terms);
                              }).value;
    EXPECT_LT((by_neumann - expected_ - bias).norm().item<double>(), 1e-11 * scale) << terms;
    const double bound = quadratic_.C.norm().item<double>() * b_.norm().item<double>() / GetParam().mu *
                         std::pow(1 - GetParam().mu / GetParam().l, static_cast<double>(terms));
    EXPECT_LE((by_neumann - expected_).norm().item<double>(), bound + 1e-11 * scale) << "the paper's bound";
    const Tensor start = torch::ones_like(z);
    const Tensor by_sgd = estimate(oracles_, [&](const LinearOperator& h, const Tensor& b) {
                            return linear_sgd(h, b, start, step, terms);
                          }).value;
    const Tensor sgd_bias = quadratic_.C.mv(contracted(quadratic_.A, z - start, step, terms));
    EXPECT_LT((by_sgd - expected_ - sgd_bias).norm().item<double>(), 1e-11 * scale) << terms;
  }
}

TEST_P(OnQuadratics, ManyTermsAreExact) {
  const double condition = GetParam().l / GetParam().mu;
  if (condition > 1000) GTEST_SKIP() << "would need " << 30 * condition << " products";
  const auto terms = static_cast<int64_t>(30 * condition) + 1;  // (1 - 1/condition)^terms <= e^-30
  const double step = 1 / GetParam().l;
  const Tensor by_neumann = estimate(oracles_, [&](const LinearOperator& h, const Tensor& b) {
                              return neumann(h, b, step, terms);
                            }).value;
  const Tensor by_sgd = estimate(oracles_, [&](const LinearOperator& h, const Tensor& b) {
                          return linear_sgd(h, b, torch::zeros_like(b), step, terms);
                        }).value;
  EXPECT_LT(relative_error(by_neumann, expected_), 1e-8);
  EXPECT_LT(relative_error(by_sgd, expected_), 1e-8);
}

TEST_P(OnQuadratics, AtTheLowerSolutionItIsTheGradientOfPhi) {
  oracles_.y().assign(quadratic_.best_lower(x_));
  const Tensor found = estimate(oracles_, exact_solve).value;
  EXPECT_LT(relative_error(found, quadratic_.gradient(x_)), 1e-8);
  // Phi is quadratic, so central differences have no truncation error, only round-off of about 1e-16 Phi / h.
  const double h = 1e-3;
  const double phi = quadratic_.value(x_).abs().item<double>();
  for (int64_t i = 0; i < x_.numel(); ++i) {
    Tensor e = torch::zeros_like(x_);
    e[i] = h;
    const double difference =
        ((quadratic_.value(x_ + e) - quadratic_.value(x_ - e)) / (2 * h)).item<double>();
    EXPECT_NEAR(found[i].item<double>(), difference, 1e-11 * phi + 1e-9 * std::abs(difference));
  }
}

INSTANTIATE_TEST_SUITE_P(SizesAndConditions, OnQuadratics,
                         ::testing::Values(Case{1, 1, 0.7, 0.7}, Case{5, 4, 0.1, 1}, Case{2, 9, 1, 100},
                                           Case{12, 3, 5, 5},  // identity-scaled
                                           Case{3, 30, 0.01, 1}, Case{4, 6, 1e-4, 1},
                                           Case{3, 5, 1e-3, 1e-2}));

TEST(ImplicitHypergradient, OnP1ItIsTheClosedForm) {
  const P1 p1(std::vector<double>{-1.5, -0.2, 0.0, 0.7, 2.5});
  Oracles oracles(p1.problem(), 1);
  oracles.y().assign(p1.a * oracles.x().flat());
  const Tensor x = oracles.x().flat().clone();
  const Tensor expected = p1.gradient(x);
  EXPECT_LT(relative_error(estimate(oracles, exact_solve).value, expected), 1e-12);
  // H = mu I = I: one Neumann summand at step 1/mu is exact.
  const auto once = [](const LinearOperator& h, const Tensor& b) { return neumann(h, b, 1, 1); };
  EXPECT_LT(relative_error(estimate(oracles, once).value, expected), 1e-12);
}

TEST(ImplicitHypergradient, OneUpperGradientOneCrossProductAndTheSolversProducts) {
  const Quadratic quadratic({});
  Oracles oracles(quadratic.problem(), 1);
  estimate(oracles, [](const LinearOperator& h, const Tensor& b) { return neumann(h, b, 1, 6); });
  EXPECT_EQ(
      oracles.ledger().steps,
      (OracleCounts{.upper_gradient = 1, .hvp = 5, .cross_vjp = 1, .upper_samples = 1, .lower_samples = 1}));
}

TEST(SampledHessian, DrawsAFreshSampleForEveryProductFromItsOwnStream) {
  const Tensor data = torch::arange(1, 7, torch::kFloat64);
  const Tensor x = torch::zeros({1}, torch::kFloat64).requires_grad_();
  const Tensor y = torch::zeros({1}, torch::kFloat64).requires_grad_();
  Oracles oracles(
      {.upper = {.parameters = {x},
                 .loss = [&](const Batch&) { return (x - y).square().sum(); },
                 .batches = no_data()},
       .lower = {.parameters = {y},
                 .loss = [&](const Batch& b) { return 0.5 * (b.input() * y.square()).sum() + 0 * x.sum(); },
                 .batches = shuffled({data}, {.batch_size = 1})}},
      1);
  const LinearOperator hessian = sampled_hessian(oracles, "neumann_batches");
  const Tensor one = torch::ones({1}, torch::kFloat64);
  double sum = 0;
  for (int i = 0; i < 6; ++i) sum += hessian(one).item<double>();  // every row's own curvature once
  EXPECT_EQ(sum, 21);
  EXPECT_EQ(oracles.ledger().steps.lower_samples, 6);
  EXPECT_EQ(oracles.ledger().steps.hvp, 6);
  EXPECT_EQ(oracles.ledger().steps.lower_gradient, 0);
}

TEST(ImplicitHypergradient, Float32IsGoodToItsPrecision) {
  const Quadratic exact({.lower_curvature_min = 0.2, .lower_curvature_max = 1});
  const auto single = [](const Tensor& t) { return t.detach().to(torch::kFloat32); };
  const Tensor x = single(exact.x).requires_grad_();
  const Tensor y = single(exact.y).requires_grad_();
  const Tensor A = single(exact.A), C = single(exact.C), a = single(exact.a), P = single(exact.P),
               R = single(exact.R), S = single(exact.S), p = single(exact.p), r = single(exact.r);
  Oracles oracles(
      {.upper = {.parameters = {x},
                 .loss =
                     [=](const Batch&) {
                       return 0.5 * x.dot(P.mv(x)) + 0.5 * y.dot(R.mv(y)) + x.dot(S.mv(y)) + p.dot(x) +
                              r.dot(y);
                     },
                 .batches = no_data()},
       .lower = {.parameters = {y},
                 .loss = [=](const Batch&) { return 0.5 * y.dot(A.mv(y)) + x.dot(C.mv(y)) + a.dot(y); },
                 .batches = no_data()}},
      1);
  const Tensor expected = exact.hypergradient(exact.x.detach(), exact.y.detach());
  // Condition 5 and a dozen float32 operations of relative error 6e-8 each.
  const auto check = [&](const Hypergradient& found) {
    EXPECT_EQ(found.value.scalar_type(), torch::kFloat32);
    EXPECT_LT(relative_error(found.value.to(torch::kFloat64), expected), 1e-5);
  };
  check(estimate(oracles, exact_solve));
  check(estimate(oracles, [](const LinearOperator& h, const Tensor& b) {
    return conjugate_gradients(h, b, {.tolerance = 1e-6});
  }));
  check(estimate(oracles, [](const LinearOperator& h, const Tensor& b) { return neumann(h, b, 1, 120); }));
}

}  // namespace
}  // namespace bilevel
