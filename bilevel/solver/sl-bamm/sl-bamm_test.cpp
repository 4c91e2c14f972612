#include "bilevel/solver/sl-bamm/sl-bamm.h"

#include <gtest/gtest.h>

#include "bilevel/solver/soba/soba.h"
#include "bilevel/task/quadratic/quadratic.h"
#include "tests/problems.h"
#include "tests/separable.h"
#include "tests/support.h"

namespace bilevel {
namespace sl_bamm_test {

const std::vector<double> kStart{2.0, -1.0, 0.5};
constexpr int kSteps = 60;

/// sl-BAMM in plain scalar arithmetic, coordinate by coordinate, with the schedule of section 1.6 written
/// out.
struct ScalarSLBAMM {
  SLBAMMOptions o;
  Separable p;
  ScalarState s{kStart};
  double limit = 0;

  void step(int k) {
    const double w = o.aggregation_weight;
    const double tau = w > 0 ? 0.025 : 0.001;
    double mu = w * std::pow(k + 1, -0.1);
    if (o.aggregation_schedule != "paper") mu = w * scalar_course(o.aggregation_schedule, 0.5, k, kSteps);
    double alpha, beta = *o.lower_step_size.value, eta = *o.linear_step_size.value;
    if (o.schedule == "paper") {
      eta *= std::pow(k + 1, -tau / 2);
      alpha = w > 0 ? o.upper_step_size * mu * mu * mu * std::pow(k + 1, -3 * tau / 2)
                    : o.upper_step_size * std::pow(k + 1, -tau);
    } else {
      const double rate = scalar_course(o.schedule, 0.5, k, kSteps);
      alpha = rate * o.upper_step_size;
      beta *= rate;
      eta *= rate;
    }
    for (size_t i = 0; i < s.size(); ++i) {
      const double x = s.x[i], z = s.z[i];
      const auto phi_y = [&](double y) { return mu * p.fy(x, y) + (1 - mu) * p.gy(x, y); };
      const double y_next = s.y[i] - beta * phi_y(s.y[i]);
      const double y = o.order == Order::gauss_seidel ? y_next : s.y[i];
      const double phi_yy = mu * p.fyy(x, y) + (1 - mu) * p.gyy(x, y);
      const double phi_xy = mu * p.fxy(x, y) + (1 - mu) * p.gxy(x, y);
      s.z[i] = z - eta * (phi_yy * z - p.fy(x, y));
      s.x[i] = x - alpha * (p.fx(x, y) - phi_xy * z);
      if (limit > 0) s.x[i] = std::clamp(s.x[i], -limit, limit);
      s.y[i] = y_next;
    }
  }
};

double difference(const SLBAMMOptions& options, const Separable& p, const Problem& problem,
                  double limit = 0) {
  ScalarSLBAMM scalar{.o = options, .p = p, .limit = limit};
  SLBAMM solver(options);
  return worst_difference(problem, solver, scalar.s, kSteps, [&](int k) { scalar.step(k); });
}

TEST(SLBAMM, EqualsScalarComputationOnP1) {
  EXPECT_LE(difference({.upper_step_size = 0.01}, {}, P1(kStart).problem()), 1e-10);
}

TEST(SLBAMM, EqualsScalarComputationInEveryVariant) {
  const Separable p{.c = 1.5, .a = 0.7, .b = 0.8, .mu = 1.2, .q = 0.3, .e = 0.4};
  for (const Order order : {Order::simultaneous, Order::gauss_seidel}) {
    for (const double weight : {0.0, 0.4}) {
      for (const std::string schedule : {"paper", "constant", "cosine"}) {
        for (const std::string aggregation : {"paper", "constant", "polynomial"}) {
          SCOPED_TRACE(name_of(order) + " " + std::to_string(weight) + " " + schedule + " " + aggregation);
          const SLBAMMOptions options{.upper_step_size = 0.03,
                                      .lower_step_size = 0.12,
                                      .linear_step_size = 0.08,
                                      .aggregation_weight = weight,
                                      .order = order,
                                      .schedule = schedule,
                                      .aggregation_schedule = aggregation};
          EXPECT_LE(difference(options, p, p.problem(kStart)), 1e-10);
        }
      }
    }
  }
}

TEST(SLBAMM, ProjectsXAfterTheStep) {
  const Separable p{.c = 0.5, .a = 2, .b = 3};  // sin(2 x) wins: the solution lies outside of the box
  const SLBAMMOptions options{.schedule = "constant"};
  EXPECT_LE(difference(options, p, p.problem(kStart, 0, 0.4), 0.4), 1e-10);
  EXPECT_GT(difference(options, p, p.problem(kStart, 0, 0.4), 0), 0.1) << "the box matters";
}

/// Section 2.5 with n coordinates: g does not know y2. x* = y1* = y2* = e.
struct MerelyConvex {
  torch::Tensor x, y;
  explicit MerelyConvex(int64_t n)
      : x(torch::full({n}, 0.01, torch::kFloat64).requires_grad_()),
        y(torch::full({2 * n}, 0.01, torch::kFloat64).requires_grad_()) {}
  Problem problem() const {
    const int64_t n = x.numel();
    const auto f = [x = x, y = y, n](const Batch&) {
      return 0.5 * (x - y.narrow(0, n, n)).square().sum() + 0.5 * (y.narrow(0, 0, n) - 1).square().sum();
    };
    const auto g = [x = x, y = y, n](const Batch&) {
      return 0.5 * y.narrow(0, 0, n).square().sum() - x.dot(y.narrow(0, 0, n));
    };
    return {.upper = {.parameters = {x}, .loss = f, .batches = no_data()},
            .lower = {.parameters = {y}, .loss = g, .batches = no_data()}};
  }
};

TEST(SLBAMM, ReachesTheSolutionOfAMerelyConvexProblemWithItsDefaults) {
  const MerelyConvex problem(3);
  SLBAMM solver;
  // Beside it, one coordinate in scalar arithmetic.
  double x = 0.01, y1 = 0.01, y2 = 0.01, z1 = 0, z2 = 0, worst = 0;
  const auto compare = [&](const MadeStep& row, Oracles& oracles) {
    const auto k = static_cast<double>(row.step - 1);
    const double mu = 0.9 * std::pow(k + 1, -0.1);
    const double r1 = (mu + (1 - mu)) * z1 - (y1 - 1), r2 = mu * z2 - (y2 - x);
    const double d1 = mu * (y1 - 1) + (1 - mu) * (y1 - x), d2 = mu * (y2 - x);
    const double dx = (x - y2) - ((1 - mu) * -z1 + mu * -z2);
    x -= 0.1 * mu * mu * mu * std::pow(k + 1, -3.0 / 80) * dx;
    y1 -= 0.1 * d1;
    y2 -= 0.1 * d2;
    z1 -= 0.1 * std::pow(k + 1, -1.0 / 80) * r1;
    z2 -= 0.1 * std::pow(k + 1, -1.0 / 80) * r2;
    worst = std::max({worst, distance(oracles.x().flat(), torch::full({3}, x, torch::kFloat64)),
                      std::abs(oracles.y().flat()[0].item<double>() - y1),
                      std::abs(oracles.y().flat()[5].item<double>() - y2)});
    return true;
  };
  EXPECT_EQ(
      run(problem.problem(), solver, {.max_steps = 4000, .callback = compare, .trace_every = 4000}).reason,
      StopReason::max_steps);
  EXPECT_LT(worst, 1e-10);
  EXPECT_LT(distance(problem.x, torch::ones({3}, torch::kFloat64)), 1e-3);
  EXPECT_LT(distance(problem.y, torch::ones({6}, torch::kFloat64)), 2e-3);
}

// Without aggregation it is SOBA, on random batches too.
TEST(SLBAMM, WithoutAggregationIsSOBA) {
  for (const Order order : {Order::simultaneous, Order::gauss_seidel}) {
    const Ridge first, second;
    SLBAMM sl_bamm({.upper_step_size = 0.02,
                    .lower_step_size = 0.03,
                    .linear_step_size = 0.04,
                    .aggregation_weight = 0,
                    .order = order,
                    .schedule = "constant"});
    SOBA soba({.upper_step_size = 0.02, .lower_step_size = 0.03, .linear_step_size = 0.04, .order = order});
    const Result a = run(first.problem(), sl_bamm, {.max_steps = 50, .seed = 3});
    const Result b = run(second.problem(), soba, {.max_steps = 50, .seed = 3});
    EXPECT_EQ(distance(first.x, second.x), 0) << name_of(order);
    EXPECT_EQ(distance(first.y, second.y), 0);
    EXPECT_EQ(a.oracle_calls.steps, b.oracle_calls.steps);
    EXPECT_GT(distance(first.x, Ridge().x), 1e-3) << "they moved";
  }
}

// The bias of the aggregation: with a constant weight it stays, with the paper's course it goes.
TEST(SLBAMM, AConstantWeightKeepsItsBias) {
  const auto distance_to_solution = [](const std::string& course) {
    const Quadratic quadratic({.lower_curvature_min = 0.5});
    SLBAMM solver({.upper_step_size = 0.1,
                   .lower_step_size = 0.5,
                   .linear_step_size = 0.5,
                   .aggregation_weight = 0.5,
                   .schedule = "constant",
                   .aggregation_schedule = course});
    run(quadratic.problem(), solver, {.max_steps = 2000, .trace_every = 2000});
    return quadratic.gradient(quadratic.x.detach()).norm().item<double>();
  };
  const double constant = distance_to_solution("constant"), falling = distance_to_solution("polynomial:1");
  EXPECT_GT(constant, 0.05);
  EXPECT_LT(falling, constant / 100);
}

}  // namespace sl_bamm_test
}  // namespace bilevel
