#include "bilevel/solver/slip/slip.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/problems.h"
#include "tests/separable.h"
#include "tests/support.h"

namespace bilevel {
namespace slip_test {

const std::vector<double> kStart{2.0, -1.0, 0.5};
constexpr int kSteps = 60;

/// SLIP in plain scalar arithmetic, coordinate by coordinate, but for the norm of m; written from the paper's
/// equations.
struct ScalarSLIP {
  SLIPOptions o;
  Separable p;
  ScalarState s{kStart};
  double limit = 0;

  void warm_start() {
    for (int t = 0; t < o.warm_start_steps; ++t) {
      for (size_t i = 0; i < s.size(); ++i) s.y[i] -= *o.lower_step_size.value * p.gy(s.x[i], s.y[i]);
    }
  }
  void step(int k) {
    const double eta_x = o.upper_step_size * scalar_course(o.schedule, 0.5, k, kSteps);
    const double eta_y =
        *o.lower_step_size.value *
        scalar_course(o.lower_schedule == "same" ? o.schedule : o.lower_schedule, 0.5, k, kSteps);
    const double eta_z =
        *o.linear_step_size.value *
        scalar_course(o.linear_schedule == "same" ? o.schedule : o.linear_schedule, 0.5, k, kSteps);
    const double theta = o.momentum_weight;
    double square = 0;
    for (size_t i = 0; i < s.size(); ++i) {
      const double x = s.x[i], z = s.z[i];
      const double y_next = s.y[i] - eta_y * p.gy(x, s.y[i]);
      const double y = o.order == Order::gauss_seidel ? y_next : s.y[i];
      s.z[i] = z - eta_z * (p.gyy(x, y) * z - p.fy(x, y));
      s.m[i] = (1 - theta) * s.m[i] + theta * (p.fx(x, y) - p.gxy(x, y) * z);
      s.y[i] = y_next;
      square += s.m[i] * s.m[i];
    }
    for (size_t i = 0; i < s.size(); ++i) {
      s.x[i] -= eta_x * s.m[i] / std::sqrt(square);
      if (limit > 0) s.x[i] = std::clamp(s.x[i], -limit, limit);
    }
  }
};

double difference(const SLIPOptions& options, const Separable& p, const Problem& problem, double limit = 0) {
  ScalarSLIP scalar{.o = options, .p = p, .limit = limit};
  scalar.warm_start();
  SLIP solver(options);
  return worst_difference(problem, solver, scalar.s, kSteps, [&](int k) { scalar.step(k); });
}

TEST(SLIP, EqualsScalarComputationOnP1) {
  EXPECT_LE(difference({.upper_step_size = 0.07, .lower_step_size = 0.2, .linear_step_size = 0.3}, {},
                       P1(kStart).problem()),
            1e-10);
}

TEST(SLIP, EqualsScalarComputationInEveryVariant) {
  const Separable p{.c = 1.5, .a = 0.7, .b = 0.8, .mu = 1.2, .q = 0.3, .e = 0.4};
  for (const Order order : {Order::simultaneous, Order::gauss_seidel}) {
    for (const Samples samples : {Samples::independent, Samples::shared}) {
      for (const std::string schedule : {"constant", "polynomial", "cosine", "paper"}) {
        SCOPED_TRACE(name_of(order) + " " + name_of(samples) + " " + schedule);
        const SLIPOptions options{.upper_step_size = 0.06,
                                  .lower_step_size = 0.15,
                                  .linear_step_size = 0.1,
                                  .warm_start_steps = schedule == "cosine" ? 0 : 2,
                                  .momentum_weight = 0.3,
                                  .order = order,
                                  .samples = samples,
                                  .schedule = schedule,
                                  .lower_schedule = schedule == "cosine" ? "constant" : "same",
                                  .linear_schedule = schedule == "paper" ? "polynomial" : "same"};
        EXPECT_LE(difference(options, p, p.problem(kStart)), 1e-10);
      }
    }
  }
}

TEST(SLIP, ProjectsXAfterTheStep) {
  const Separable p{.c = 0.5, .a = 2, .b = 3};  // sin(2 x) wins: the solution lies outside of the box
  const SLIPOptions options{.upper_step_size = 0.1, .lower_step_size = 0.5, .linear_step_size = 0.5};
  EXPECT_LE(difference(options, p, p.problem(kStart, 0, 0.4), 0.4), 1e-10);
  EXPECT_GT(difference(options, p, p.problem(kStart, 0, 0.4), 0), 0.1) << "the box matters";
}

TEST(SLIP, EveryStepHasTheLengthOfItsStepSize) {
  for (const Samples samples : {Samples::independent, Samples::shared}) {
    const Ridge ridge;
    SLIP solver({.upper_step_size = 0.03, .samples = samples});
    torch::Tensor before = ridge.x.detach().clone();
    double worst = 0;
    const auto measure = [&](const MadeStep& row, Oracles& oracles) {
      const double length = (oracles.x().flat() - before).norm().item<double>();
      // f knows no x and z_0 = 0, so the first momentum is 0.
      worst = std::max(worst, std::abs(length - (row.step == 1 ? 0 : 0.03)));
      before = oracles.x().flat().clone();
      return true;
    };
    run(ridge.problem(), solver, {.max_steps = 40, .callback = measure});
    EXPECT_LT(worst, 1e-6 * 0.03);
  }
}

TEST(SLIP, StaysWhereTheMomentumIsZero) {
  const torch::Tensor x = torch::zeros({2}, torch::kFloat64).requires_grad_();
  const torch::Tensor y = torch::zeros({2}, torch::kFloat64).requires_grad_();
  const Problem problem{.upper = {.parameters = {x},
                                  .loss = [=](const Batch&) { return x.square().sum() + y.square().sum(); },
                                  .batches = no_data()},
                        .lower = {.parameters = {y},
                                  .loss = [=](const Batch&) { return (y - x).square().sum(); },
                                  .batches = no_data()}};
  SLIP solver;
  EXPECT_EQ(run(problem, solver, {.max_steps = 5}).reason, StopReason::max_steps);
  EXPECT_EQ(x.detach().abs().max().item<double>(), 0);
}

/// Rows of every evaluation of a loss, without the probe's.
struct Spy {
  std::vector<std::vector<int64_t>> rows;
  Loss watch(const Loss& loss) {
    return [this, loss](const Batch& batch) {
      rows.push_back(batch.rows());
      return loss(batch);
    };
  }
  size_t distinct() const { return std::set<std::vector<int64_t>>(rows.begin(), rows.end()).size(); }
};

TEST(SLIP, IndependentSamplesAreFiveAndSharedOnesTwo) {
  for (const bool shared : {false, true}) {
    const torch::Tensor data = torch::arange(1000, torch::kFloat64);
    const torch::Tensor x = torch::ones({2}, torch::kFloat64).requires_grad_();
    const torch::Tensor y = torch::ones({2}, torch::kFloat64).requires_grad_();
    const auto loss = [=](const Batch& b) {
      return ((y - x).square().sum() + x.sum()) * (1 + 1e-3 * b.input().mean());
    };
    Spy upper, lower;
    Problem problem{
        .upper = {.parameters = {x},
                  .loss = upper.watch(loss),
                  .batches = shuffled({data}, {.batch_size = 7})},
        .lower = {
            .parameters = {y}, .loss = lower.watch(loss), .batches = shuffled({data}, {.batch_size = 7})}};
    SLIP solver({.lower_step_size = 0.1,
                 .linear_step_size = 0.1,
                 .warm_start_steps = 0,
                 .samples = shared ? Samples::shared : Samples::independent});
    const auto forget = [&](const MadeStep& row, Oracles&) {
      if (row.step == 1) upper.rows.clear(), lower.rows.clear();
      return true;
    };
    const Result result = run(problem, solver, {.max_steps = 2, .callback = forget});
    upper.rows.pop_back(), lower.rows.pop_back();  // the objectives at the end
    EXPECT_EQ(upper.rows.size(), shared ? 1u : 2u) << "one evaluation a sample";
    EXPECT_EQ(lower.rows.size(), shared ? 1u : 3u);
    EXPECT_EQ(upper.distinct(), upper.rows.size());
    EXPECT_EQ(lower.distinct(), lower.rows.size());
    EXPECT_EQ(result.oracle_calls.steps.upper_samples, 2 * 7 * (shared ? 1 : 2));
    EXPECT_EQ(result.oracle_calls.steps.lower_samples, 2 * 7 * (shared ? 1 : 3));
  }
}

// The sample of grad_y F touches neither the reported loss nor x, y in its step.
TEST(SLIP, StopsWhereOnlyTheLinearSystemIsNotFinite) {
  const Ridge ridge;
  Problem problem = ridge.problem();
  problem.upper.loss = [loss = problem.upper.loss, calls = std::make_shared<int>(0)](const Batch& b) {
    return ++*calls == 9 ? loss(b) * NAN : loss(b);  // the probe, the objective at the start, two a step
  };
  SLIP solver;
  const Result result = run(problem, solver, {.max_steps = 20});
  EXPECT_EQ(result.reason, StopReason::nonfinite);
  EXPECT_EQ(result.steps, 4);
  EXPECT_CONTAINS(result.message, "linear system");
}

TEST(SLIP, WarmStartsWithSgdOnYAloneAtTheFirstX) {
  P1 p1(kStart);
  p1.mu = 4;
  SLIP solver({.warm_start_steps = 5});
  const Result result = run(p1.problem(), solver, {.max_steps = 0});
  EXPECT_EQ(result.oracle_calls.warm_start.lower_gradient, 5);
  EXPECT_NEAR(result.chosen["lower_step_size"].get<double>(), 0.125, 1e-12);
  EXPECT_NEAR(result.chosen["linear_step_size"].get<double>(), 0.125, 1e-12);
  for (int64_t i = 0; i < 3; ++i) {  // half of the error goes with each step
    const double x = kStart[static_cast<size_t>(i)];
    EXPECT_EQ(p1.x[i].item<double>(), x);
    EXPECT_NEAR(p1.y[i].item<double>(), x * (1 - std::pow(0.5, 5)), 1e-14);
  }
}

}  // namespace slip_test
}  // namespace bilevel
