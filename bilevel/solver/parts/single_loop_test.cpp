#include "bilevel/solver/parts/single_loop.h"

#include "bilevel/problem/sets.h"
#include "bilevel/task/quadratic/quadratic.h"
#include "tests/problems.h"
#include "tests/support.h"

namespace bilevel {
namespace {

using torch::Tensor;

struct Variant {
  bool moves_y, gauss_seidel, shared;
};

std::vector<Variant> variants() {
  std::vector<Variant> all;
  for (const bool moves : {false, true}) {
    for (const bool gauss_seidel : {false, true}) {
      for (const bool shared : {false, true}) all.push_back({moves, gauss_seidel, shared});
    }
  }
  return all;
}

SingleLoopOptions options_of(const Variant& v) {
  return {.lower_step_size = v.moves_y ? std::optional(0.3) : std::nullopt,
          .gauss_seidel = v.gauss_seidel,
          .shared = v.shared};
}

class SingleLoop : public ::testing::TestWithParam<Variant> {};
INSTANTIATE_TEST_SUITE_P(Variants, SingleLoop, ::testing::ValuesIn(variants()), [](const auto& v) {
  return std::string(v.param.moves_y ? "Moving" : "Still") +
         (v.param.gauss_seidel ? "GaussSeidel" : "Simultaneous") +
         (v.param.shared ? "Shared" : "Independent");
});

TEST_P(SingleLoop, EqualsTheClosedFormOnAQuadratic) {
  const Quadratic q({});
  Oracles oracles(q.problem(), 1);
  const Tensor x = oracles.x().flat().clone();
  const Tensor y0 = oracles.y().flat().clone();
  const Tensor z = torch::tensor({0.3, -1.0, 2.0, 0.7}, torch::kFloat64);
  const SingleLoopStep step = single_loop_step(oracles, z, options_of(GetParam()));
  const Tensor y1 = GetParam().moves_y ? y0 - 0.3 * (q.A.mv(y0) + q.C.t().mv(x) + q.a) : y0;
  const Tensor at = GetParam().gauss_seidel ? y1 : y0;
  EXPECT_LT(distance(oracles.y().flat(), y1), 1e-14);
  EXPECT_LT(distance(step.residual, q.A.mv(z) - (q.R.mv(at) + q.S.t().mv(x) + q.r)), 1e-13);
  EXPECT_LT(distance(step.hypergradient, q.P.mv(x) + q.S.mv(at) + q.p - q.C.mv(z)), 1e-13);
  const Tensor f =
      0.5 * x.dot(q.P.mv(x)) + 0.5 * at.dot(q.R.mv(at)) + x.dot(q.S.mv(at)) + q.p.dot(x) + q.r.dot(at);
  EXPECT_LT(distance(step.upper_loss, f), 1e-13);
  EXPECT_TRUE(torch::equal(oracles.x().flat(), x)) << "x is the caller's to move";
  EXPECT_FALSE(step.hypergradient.requires_grad() || step.residual.requires_grad());
}

TEST_P(SingleLoop, CallsAndSamplesAreAsDocumented) {
  for (const bool hessian : {false, true}) {
    Ridge ridge;
    Problem problem = ridge.problem();
    if (hessian) problem.lower_hessian = [](const Tensor& v) { return 2 * v; };
    Oracles oracles(problem, 1);
    single_loop_step(oracles, torch::ones({3}, torch::kFloat64), options_of(GetParam()));
    const auto& [moves, gauss_seidel, shared] = GetParam();
    OracleCounts expected{.lower_gradient = moves, .upper_gradient = 1, .hvp = 1, .cross_vjp = 1};
    expected.upper_samples = shared ? 4 : oracles.ledger().steps.upper_samples;
    expected.lower_samples = 5 * (shared ? 1 : 1 + (moves ? 1 : 0) + (hessian ? 0 : 1));
    EXPECT_EQ(oracles.ledger().steps, expected) << (hessian ? "with a lower Hessian" : "");
  }
}

/// Ridge regression whose every batch is the whole data set, without dropout.
Problem full_batches(const Ridge& ridge) {
  Problem problem = ridge.problem();
  problem.upper.batches = full_batch({ridge.valid}, ridge.valid_target);
  problem.lower.batches = full_batch({ridge.train}, ridge.train_target);
  return problem;
}

TEST(SingleLoopStep, SharedAndIndependentAreEqualOnFullBatches) {
  for (const bool gauss_seidel : {false, true}) {
    Tensor x[2], y[2], z[2];
    for (const bool shared : {false, true}) {
      Ridge ridge;
      ridge.dropout = 0;
      Oracles oracles(full_batches(ridge), 1);
      z[shared] = torch::zeros({3}, torch::kFloat64);
      for (int k = 0; k < 20; ++k) {
        const SingleLoopStep step = single_loop_step(
            oracles, z[shared], {.lower_step_size = 0.1, .gauss_seidel = gauss_seidel, .shared = shared});
        z[shared] = z[shared] - 0.1 * step.residual;
        oracles.upper().move(step.hypergradient, -0.1);
      }
      x[shared] = oracles.x().flat();
      y[shared] = oracles.y().flat();
    }
    EXPECT_LT(distance(x[0], x[1]), 1e-13);
    EXPECT_LT(distance(y[0], y[1]), 1e-13);
    EXPECT_LT(distance(z[0], z[1]), 1e-13);
    EXPECT_GT(x[0].norm().item<double>(), 1e-2) << "it did move";
  }
}

// With shared samples the y-step and the products use the same rows and the same dropout mask.
TEST(SingleLoopStep, SharedMeansOneBatchAndOneMask) {
  Ridge ridge, same;
  Oracles oracles(ridge.problem(), 9), replay(same.problem(), 9);
  oracles.y().assign(torch::tensor({0.5, -1.0, 0.25}, torch::kFloat64));
  const Tensor y0 = oracles.y().flat().clone();
  const Tensor z = torch::tensor({1.0, 2.0, -1.0}, torch::kFloat64);
  const SingleLoopStep step = single_loop_step(oracles, z, {.lower_step_size = 0.1, .shared = true});
  const Tensor y1 = oracles.y().flat().clone();

  replay.y().assign(y0);
  const Sample xi = replay.upper().draw("upper_batches");
  const Sample zeta = replay.lower().draw("lower_batches");
  EXPECT_LT(distance(y1, y0 - 0.1 * replay.lower().gradient_in_y(zeta)), 1e-14);
  auto [upper, lower] = replay.points(xi, zeta);
  EXPECT_LT(distance(step.residual, lower.hvp(z) - upper.grad_y()), 1e-13);
  EXPECT_LT(distance(step.hypergradient, upper.grad_x() - lower.cross_vjp(z)), 1e-13);
}

TEST(NormalizedStep, HasTheLengthOfTheStepSize) {
  const Quadratic q({});
  for (const double scale : {1e-150, 1e-3, 1.0, 1e100}) {
    Oracles oracles(q.problem(), 1);
    const Tensor x = oracles.x().flat().clone();
    const Tensor m = scale * torch::tensor({3.0, -1.0, 0.0, 2.0, 1.0}, torch::kFloat64);
    normalized_step(oracles, m, 0.25);
    const Tensor moved = oracles.x().flat() - x;
    EXPECT_NEAR(moved.norm().item<double>(), 0.25, 1e-12) << scale;
    EXPECT_NEAR(moved.dot(m / m.norm()).item<double>(), -0.25, 1e-12) << "against m";
  }
}

TEST(NormalizedStep, StaysWhereTheDirectionIsZeroAndInsideTheFeasibleSet) {
  const Quadratic q({});
  Problem problem = q.problem();
  problem.upper.project = box(0.9, 1.1);
  Oracles oracles(problem, 1);
  const Tensor x = oracles.x().flat().clone();
  normalized_step(oracles, torch::zeros_like(x), 0.25);
  EXPECT_TRUE(torch::equal(oracles.x().flat(), x));
  normalized_step(oracles, torch::tensor({1.0, 0.0, 0.0, 0.0, -1.0}, torch::kFloat64), 5);
  EXPECT_LT(distance(oracles.x().flat(), torch::tensor({0.9, 1.0, 1.0, 1.0, 1.1}, torch::kFloat64)), 1e-15);
}

}  // namespace
}  // namespace bilevel
