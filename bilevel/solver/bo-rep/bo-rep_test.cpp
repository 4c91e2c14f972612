#include "bilevel/solver/bo-rep/bo-rep.h"

#include <gtest/gtest.h>

#include "bilevel/solver/slip/slip.h"
#include "bilevel/task/quadratic/quadratic.h"
#include "tests/problems.h"
#include "tests/separable.h"
#include "tests/support.h"

namespace bilevel {
namespace bo_rep_test {

const std::vector<double> kStart{2.0, -1.0, 0.5};
constexpr int kSteps = 60;

/// BO-REP in plain scalar arithmetic, coordinate by coordinate but for the norm of m and the balls; written
/// from the paper's equations.
struct ScalarBOREP {
  BOREPOptions o;
  Separable p;
  ScalarState s{kStart};

  /// y <- the average of `steps` projected gradient steps.
  void lower_update(double eta, int64_t steps, double radius) {
    const std::vector<double> centre = s.y;
    std::vector<double> sum(s.size(), 0.0);
    for (int64_t j = 0; j < steps; ++j) {
      double square = 0;
      for (size_t i = 0; i < s.size(); ++i) {
        s.y[i] -= eta * p.gy(s.x[i], s.y[i]);
        square += (s.y[i] - centre[i]) * (s.y[i] - centre[i]);
      }
      const double shrink = radius > 0 && square > radius * radius ? radius / std::sqrt(square) : 1;
      for (size_t i = 0; i < s.size(); ++i) {
        s.y[i] = centre[i] + shrink * (s.y[i] - centre[i]);
        sum[i] += s.y[i];
      }
    }
    for (size_t i = 0; i < s.size(); ++i) s.y[i] = sum[i] / static_cast<double>(steps);
  }
  void refine() {
    for (int stage = 0; stage < o.refinement_stages; ++stage) {
      lower_update(*o.lower_step_size.value / std::pow(2, stage),
                   o.refinement_steps * static_cast<int64_t>(std::pow(2, stage)),
                   o.refinement_radius / std::pow(std::sqrt(2), stage));
    }
  }
  void step(int k) {
    const double rate = scalar_course(o.schedule, 0.5, k, kSteps);
    const double theta = o.momentum_weight;
    if (k > 0 && k % o.period == 0)
      lower_update(rate * *o.lower_step_size.value, o.lower_steps, o.ball_radius);
    double square = 0;
    for (size_t i = 0; i < s.size(); ++i) {
      const double x = s.x[i], y = s.y[i], z = s.z[i];
      s.z[i] = z - rate * *o.linear_step_size.value * (p.gyy(x, y) * z - p.fy(x, y));
      s.m[i] = (1 - theta) * s.m[i] + theta * (p.fx(x, y) - p.gxy(x, y) * z);
      square += s.m[i] * s.m[i];
    }
    for (size_t i = 0; i < s.size(); ++i) s.x[i] -= rate * o.upper_step_size * s.m[i] / std::sqrt(square);
  }
};

double difference(const BOREPOptions& options, const Separable& p, const Problem& problem) {
  ScalarBOREP scalar{.o = options, .p = p};
  scalar.refine();
  BOREP solver(options);
  return worst_difference(problem, solver, scalar.s, kSteps, [&](int k) { scalar.step(k); });
}

TEST(BOREP, EqualsScalarComputationOnP1) {
  EXPECT_LE(difference({.upper_step_size = 0.07, .lower_step_size = 0.2, .linear_step_size = 0.3}, {},
                       P1(kStart).problem()),
            1e-10);
}

TEST(BOREP, EqualsScalarComputationInEveryVariant) {
  const Separable p{.c = 1.5, .a = 0.7, .b = 0.8, .mu = 1.2, .q = 0.3, .e = 0.4};
  for (const int64_t period : {1, 2, 3}) {
    for (const int64_t lower_steps : {1, 4}) {
      for (const double radius : {0.0, 0.05}) {  // 0.05 is less than a step of y here
        for (const Samples samples : {Samples::independent, Samples::shared}) {
          SCOPED_TRACE(std::to_string(period) + " " + std::to_string(lower_steps) + " " +
                       std::to_string(radius) + " " + name_of(samples));
          const BOREPOptions options{.upper_step_size = 0.06,
                                     .lower_step_size = 0.15,
                                     .linear_step_size = 0.1,
                                     .lower_steps = lower_steps,
                                     .period = period,
                                     .ball_radius = radius,
                                     .refinement_stages = period,
                                     .refinement_steps = 3,
                                     .refinement_radius = 4 * radius,
                                     .momentum_weight = 0.3,
                                     .samples = samples,
                                     .schedule = lower_steps == 1 ? "constant" : "cosine"};
          EXPECT_LE(difference(options, p, p.problem(kStart)), 1e-10);
        }
      }
    }
  }
}

/// What a lower update of the second iteration (k = 1) does to y.
double first_update(const BOREPOptions& options, const Problem& problem) {
  torch::Tensor before;
  double moved = 0;
  BOREP solver(options);
  const auto measure = [&](const MadeStep& row, Oracles& oracles) {
    if (row.step == 2) moved = (oracles.y().flat() - before).norm().item<double>();
    before = oracles.y().flat().clone();
    return true;
  };
  run(problem, solver, {.max_steps = 2, .callback = measure});
  return moved;
}

TEST(BOREP, ALowerUpdateStaysInItsBall) {
  BOREPOptions options{.lower_step_size = 0.5, .lower_steps = 5, .period = 1, .refinement_stages = 0};
  const double free = first_update(options, P1(kStart).problem());
  EXPECT_GT(free, 1);
  for (const double radius : {0.5, 0.01}) {
    options.ball_radius = radius;
    // Every iterate lies on the ball's surface in one direction, hence their average too.
    EXPECT_NEAR(first_update(options, P1(kStart).problem()), radius, 1e-12);
  }
  options.ball_radius = 100;
  EXPECT_EQ(first_update(options, P1(kStart).problem()), free) << "a ball too large to matter";
}

TEST(BOREP, ALowerUpdateIsTheAverageOfItsIterates) {
  // From y = 0, at x = 2 and 1/2: y_j = x (1 - 2^-j), so the average of four is x (1 - 15/64).
  P1 p1(std::vector<double>{2.0, 0.5});
  BOREP solver({.upper_step_size = 1e-12,
                .lower_step_size = 0.5,
                .lower_steps = 4,
                .period = 3,
                .refinement_stages = 0});
  std::vector<double> first;
  const auto note = [&](const MadeStep&, Oracles& oracles) {
    first.push_back(oracles.y().flat()[0].item<double>());
    return true;
  };
  run(p1.problem(), solver, {.max_steps = 6, .callback = note});
  const std::vector<double> expected{0, 0, 0, 2 * 49.0 / 64, 2 * 49.0 / 64, 2 * 49.0 / 64};
  for (size_t k = 0; k < 6; ++k) EXPECT_NEAR(first[k], expected[k], 1e-10) << k;
}

/// Mean over seeds of ||y_0 - y*(x_0)||^2 after refinement under noise, x_0 fixed.
double refined_error(const BOREPOptions& options) {
  double sum = 0;
  constexpr int kSeeds = 24;
  for (int seed = 0; seed < kSeeds; ++seed) {
    const Quadratic noisy({.lower_curvature_min = 0.5, .noise = 1});
    BOREP solver(options);
    const Result result = run(noisy.problem(), solver, {.max_steps = 0, .seed = static_cast<uint64_t>(seed)});
    EXPECT_EQ(result.oracle_calls.warm_start.lower_gradient,
              ((int64_t{1} << options.refinement_stages) - 1) * options.refinement_steps);
    EXPECT_EQ(distance(noisy.x, torch::ones_like(noisy.x)), 0) << "x stays";
    sum += (noisy.y.detach() - noisy.best_lower(noisy.x.detach())).square().sum().item<double>();
  }
  return sum / kSeeds;
}

TEST(BOREP, RefinementContractsUnderNoise) {
  // 15 steps a stage suffice to forget the start; then each stage halves the variance. The spread of a mean
  // of 24 such errors is about a seventh, so the factor of 3 stages, 8, is told from 3.
  BOREPOptions options{.lower_step_size = 0.5, .refinement_steps = 15};
  options.refinement_stages = 2;
  const double early = refined_error(options);
  options.refinement_stages = 5;
  const double late = refined_error(options);
  EXPECT_LT(late, early / 3);
}

TEST(BOREP, RefinementStaysInShrinkingBalls) {
  // y*(x_0) is far away, and every iterate of a stage lies on its ball's surface in one direction.
  P1 far(std::vector<double>{30.0, 40.0});
  BOREP solver({.upper_step_size = 1e-9,
                .lower_step_size = 0.5,
                .linear_step_size = 0.5,
                .refinement_stages = 4,
                .refinement_radius = 2});
  run(far.problem(), solver, {.max_steps = 0});
  const double reach = 2 * (1 + std::sqrt(0.5) + 0.5 + std::sqrt(0.125));
  EXPECT_NEAR(far.y.detach().norm().item<double>(), reach, 1e-10);
}

// Section 4.5. y starts at y*(x_0), where SLIP's first step on y, which BO-REP does not have, does nothing.
TEST(BOREP, WithoutPeriodRefinementAndBallIsSLIPWithYFirst) {
  const Separable p{.c = 1.5, .a = 0, .b = 0.8, .mu = 1.2, .q = 0.3, .e = 0.4};
  const Separable moving{.c = 1.5, .a = 0.7, .b = 0.8, .mu = 1.2, .q = 0.3, .e = 0.4};
  const std::vector<double> start{1.0, 1.0, 1.0};
  for (const auto& [problem_of, lower] : {std::pair{p, 0.0}, std::pair{moving, 0.7}}) {
    for (const Samples samples : {Samples::independent, Samples::shared}) {
      const Problem first = problem_of.problem(start, lower), second = problem_of.problem(start, lower);
      BOREP bo_rep({.lower_step_size = 0.2,
                    .linear_step_size = 0.1,
                    .lower_steps = 1,
                    .period = 1,
                    .refinement_stages = 0,
                    .samples = samples});
      SLIP slip({.lower_step_size = 0.2,
                 .linear_step_size = 0.1,
                 .warm_start_steps = 0,
                 .order = Order::gauss_seidel,
                 .samples = samples});
      std::vector<torch::Tensor> path;
      const auto record = [&](const MadeStep&, Oracles& oracles) {
        path.push_back(torch::cat({oracles.x().flat(), oracles.y().flat()}));
        return true;
      };
      run(first, bo_rep, {.max_steps = 80, .callback = record});
      double worst = 0;
      const auto compare = [&](const MadeStep& row, Oracles& oracles) {
        worst = std::max(worst, distance(torch::cat({oracles.x().flat(), oracles.y().flat()}),
                                         path.at(static_cast<size_t>(row.step - 1))));
        return true;
      };
      run(second, slip, {.max_steps = 80, .callback = compare});
      EXPECT_LT(worst, 1e-12) << name_of(samples);
      EXPECT_GT(distance(path.back(), path.front()), 0.1) << "they moved";
    }
  }
}

TEST(BOREP, WithoutStagesThereIsNoRefinement) {
  P1 p1(kStart);
  BOREP solver({.refinement_stages = 0});
  EXPECT_EQ(run(p1.problem(), solver, {.max_steps = 0}).oracle_calls.warm_start, OracleCounts{});
  EXPECT_EQ(p1.y.detach().abs().max().item<double>(), 0);
}

TEST(BOREP, EveryStepHasTheLengthOfItsStepSize) {
  const Ridge ridge;
  BOREP solver({.upper_step_size = 0.02});
  torch::Tensor before = ridge.x.detach().clone();
  double worst = 0;
  const auto measure = [&](const MadeStep& row, Oracles& oracles) {
    const double length = (oracles.x().flat() - before).norm().item<double>();
    // f knows no x and z_0 = 0, so the first momentum is 0.
    worst = std::max(worst, std::abs(length - (row.step == 1 ? 0 : 0.02)));
    before = oracles.x().flat().clone();
    return true;
  };
  run(ridge.problem(), solver, {.max_steps = 40, .callback = measure});
  EXPECT_LT(worst, 1e-6 * 0.02);
}

}  // namespace bo_rep_test
}  // namespace bilevel
