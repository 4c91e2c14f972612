#include "bilevel/solver/f2sa/f2sa.h"

#include <cmath>

#include "bilevel/task/quadratic/quadratic.h"
#include "tests/problems.h"
#include "tests/support.h"
#include "tests/trajectory.h"

namespace bilevel {
namespace f2sa_test {

/// F2SA on one coordinate of P1, written from the equations at the top of f2sa.h.
struct ScalarF2SA {
  F2SAOptions o;
  P1 p;
  int64_t steps;
  double x, y = 0, w = 0;
  int64_t k = 0;

  void step() {
    const double lambda = o.schedule == "paper"
                              ? *o.multiplier.value * std::pow(static_cast<double>(k + 1), 1.0 / 7)
                              : *o.multiplier.value + o.multiplier_growth * static_cast<double>(k);
    const double eta_y =
        *o.lower_step_size.value *
        course_factor(o.lower_schedule == "same" ? o.schedule : o.lower_schedule, k, steps, 4.0 / 7);
    const auto grad_y = [&](double at) { return p.mu * (at - p.a * x); };
    const auto grad_x = [&](double at) { return -p.a * p.mu * (at - p.a * x); };
    for (int64_t n = 0; n < o.lower_steps; ++n) {
      w -= eta_y * grad_y(w);
      y -= eta_y / (1 + lambda) * (p.b * std::cos(y) + lambda * grad_y(y));
    }
    x -= o.upper_step_size * course_factor(o.schedule, k, steps, 5.0 / 7) *
         (p.c * std::sinh(p.c * x) + lambda * (grad_x(y) - grad_x(w)));
    ++k;
  }
};

TEST(F2SA, EqualsScalarComputationInEveryVariant) {
  constexpr int64_t kSteps = 60;
  for (const int64_t lower_steps : {1, 3}) {
    for (const Samples samples : {Samples::independent, Samples::shared}) {
      for (const auto& [schedule, lower_schedule] : {std::pair{"constant", "same"},
                                                     {"paper", "same"},
                                                     {"cosine", "constant"},
                                                     {"constant", "paper"}}) {
        SCOPED_TRACE(std::string(schedule) + " " + lower_schedule + " " + name_of(samples));
        const F2SAOptions options{.upper_step_size = 0.05,
                                  .lower_step_size = 0.3,
                                  .multiplier = 0.5,
                                  .multiplier_growth = 0.3,
                                  .lower_steps = lower_steps,
                                  .samples = samples,
                                  .schedule = schedule,
                                  .lower_schedule = lower_schedule};
        const P1 p1 = uneven_p1();
        F2SA solver(options);
        const auto make = [&](double x) {
          return ScalarF2SA{.o = options, .p = p1, .steps = kSteps, .x = x};
        };
        EXPECT_LT(worst_difference(p1, solver, kSteps, make), 1e-12);
        ScalarF2SA first = make(1.2);  // the first coordinate
        for (int64_t k = 0; k < kSteps; ++k) first.step();
        EXPECT_NEAR(solver.w()[0].item<double>(), first.w, 1e-12);
      }
    }
  }
}

/// Where F2SA with a fixed multiplier stands still on a quadratic: (x, y, w) from the three gradients set to
/// zero.
struct PenaltySolution {
  torch::Tensor x, y, w;

  PenaltySolution(const Quadratic& q, double lambda) {
    const int64_t n = q.p.numel(), m = q.r.numel();
    const torch::Tensor zero = torch::zeros({m, m}, torch::kFloat64);
    const torch::Tensor matrix =
        torch::cat({torch::cat({q.P, q.S + lambda * q.C, -lambda * q.C}, 1),
                    torch::cat({q.S.t() + lambda * q.C.t(), q.R + lambda * q.A, zero}, 1),
                    torch::cat({q.C.t(), zero, q.A}, 1)});
    const torch::Tensor solution = at::linalg_solve(matrix, -torch::cat({q.p, q.r + lambda * q.a, q.a}));
    x = solution.narrow(0, 0, n);
    y = solution.narrow(0, n, m);
    w = solution.narrow(0, n + m, m);
  }
};

TEST(F2SA, WithAFixedMultiplierFindsThePenaltysMinimizer) {
  for (const double lambda : {0.2, 3.0, 50.0}) {
    const Quadratic quadratic({.lower_curvature_min = 0.8});
    F2SA solver({.upper_step_size = 0.2,
                 .lower_step_size = 1.0,
                 .multiplier = lambda,
                 .multiplier_growth = 0,
                 .lower_steps = 2});
    run(quadratic.problem(), solver, {.max_steps = 300, .trace_every = 300});
    const PenaltySolution expected(quadratic, lambda);
    EXPECT_LT(relative_error(quadratic.x.detach(), expected.x), 1e-9) << lambda;
    EXPECT_LT(relative_error(quadratic.y.detach(), expected.y), 1e-9) << lambda;
    EXPECT_LT(relative_error(solver.w(), expected.w), 1e-9) << lambda;
    EXPECT_LT(relative_error(solver.w(), quadratic.best_lower(quadratic.x.detach())), 1e-9) << lambda;
  }
}

// The hypergradient where F2SA stands still is its bias; it halves when the multiplier doubles.
TEST(F2SA, TheBiasFallsLikeOneOverTheMultiplier) {
  const Quadratic quadratic({.lower_curvature_min = 0.5});
  const auto bias = [&](double lambda) {
    return quadratic.gradient(PenaltySolution(quadratic, lambda).x).norm().item<double>();
  };
  EXPECT_NEAR(bias(200) / bias(400), 2, 0.05);
  EXPECT_GT(bias(1), 1e-2);

  F2SA solver({.upper_step_size = 0.1, .multiplier = 191, .multiplier_growth = 0.02, .lower_steps = 2});
  run(quadratic.problem(), solver, {.max_steps = 500, .trace_every = 500});
  EXPECT_DOUBLE_EQ(solver.multiplier(), 201);
  // lambda (y - w) lags by growth/(lambda * rate) = 0.0002 of its size, where the bias is 1/lambda = 0.005 of
  // it; the rate of y and w is 1 - (1 - 0.25)^2 an iteration.
  EXPECT_NEAR(quadratic.gradient(quadratic.x.detach()).norm().item<double>(), bias(201), 0.1 * bias(201));
}

// However small or large the multiplier, the steps on y contract, with a step size that does not know about
// it. At step k, lambda (y - w) lags behind its limit, which is of size 1 here, by 1/(k eta_y mu) = 0.003 of
// it.
TEST(F2SA, StaysStableWhileTheMultiplierGrows) {
  const Quadratic quadratic({.lower_curvature_min = 0.5});
  F2SA solver({.upper_step_size = 0.05, .multiplier = 1e-2, .multiplier_growth = 50, .lower_steps = 1});
  const Result result = run(quadratic.problem(), solver, {.max_steps = 1500, .trace_every = 1500});
  EXPECT_EQ(result.reason, StopReason::max_steps);
  EXPECT_LT(quadratic.gradient(quadratic.x.detach()).norm().item<double>(), 1e-2);
}

// At a fixed x, the noise that y and w have in common leaves lambda (y - w).
TEST(F2SA, SharedSamplesTakeTheNoiseOutOfTheDifference) {
  const auto spread = [](Samples samples) {
    const Quadratic noisy({.lower_curvature_min = 0.5, .noise = 0.5});
    F2SA solver({.upper_step_size = 1e-12,
                 .lower_step_size = 0.1,
                 .multiplier = 20,
                 .multiplier_growth = 0,
                 .lower_steps = 1,
                 .samples = samples});
    const Result result = run(noisy.problem(), solver, {.max_steps = 500});
    double sum = 0, squares = 0, count = 0;
    for (const TraceRow& row : result.trace) {
      if (row.step <= 100) continue;
      sum += row.hypergradient_norm;
      squares += row.hypergradient_norm * row.hypergradient_norm;
      ++count;
    }
    return squares / count - (sum / count) * (sum / count);
  };
  EXPECT_LT(50 * spread(Samples::shared), spread(Samples::independent));
}

TEST(F2SA, DrawsTheDocumentedSamples) {
  constexpr int64_t kSteps = 6;
  for (const bool shared : {false, true}) {
    Ridge ridge;
    F2SA solver({.lower_steps = 3, .samples = shared ? Samples::shared : Samples::independent});
    const OracleCounts counts = run(ridge.problem(), solver, {.max_steps = kSteps}).oracle_calls.steps;
    EXPECT_EQ(counts.upper_samples, kSteps * 4 * (3 + 1));
    EXPECT_EQ(counts.lower_samples, kSteps * 5 * ((shared ? 3 : 6) + 1));
    EXPECT_EQ(counts.hvp + counts.cross_vjp, 0) << "first derivatives only";
  }
}

/// What `auto` becomes on a problem.
double automatic_multiplier_on(const Problem& problem) {
  F2SA solver;
  const Result result = run(problem, solver, {.max_steps = 1});
  EXPECT_EQ(result.oracle_calls.steps.hvp, 0);
  return result.chosen.at("multiplier");
}

TEST(F2SA, TheAutomaticMultiplierIsTwiceTheQuotientOfTheCurvatures) {
  // R has eigenvalues up to 0.5, A from 0.1.
  EXPECT_NEAR(automatic_multiplier_on(Quadratic({}).problem()), 10, 1e-4);
  EXPECT_NEAR(automatic_multiplier_on(Quadratic({.lower_curvature_min = 0.4}).problem()), 2.5, 1e-4);
  EXPECT_EQ(
      automatic_multiplier_on(Quadratic({.lower_curvature_min = 8, .lower_curvature_max = 9}).problem()), 1)
      << "2 l_f/mu is 1/8";
  for (const torch::Dtype dtype : {torch::kFloat64, torch::kFloat32}) {
    const torch::Tensor x = torch::full({3}, 2.0, dtype).requires_grad_(),
                        y = torch::zeros({3}, dtype).requires_grad_();
    const auto with_g = [&](const std::function<torch::Tensor()>& g) {
      return Problem{
          .upper = {.parameters = {x},
                    .loss = [=](const Batch&) { return x.dot(y) - 3 * y.square().sum(); },
                    .batches = no_data()},
          .lower = {.parameters = {y}, .loss = [=](const Batch&) { return g(); }, .batches = no_data()}};
    };
    EXPECT_NEAR(automatic_multiplier_on(with_g([=] { return (y - x).square().sum(); })), 6,
                1e-2);  // 2 * 6 / 2
    EXPECT_EQ(automatic_multiplier_on(with_g([=] { return (y[0] - x[0]).square(); })), 1)
        << "mu = 0: there is none";
  }
}

// f bends down in y: below 1 the multiplier lets y run away, as 0.1 with a growth of 0.001 does.
TEST(F2SA, StartsWhereYHasAMinimumToFollow) {
  const auto end_of = [](F2SAOptions options) {
    const auto known = make_known_problem("cosine");
    known->build(0);
    options.multiplier_growth = 1e-3;
    F2SA solver(options);
    const Result result = run(known->problem(), solver, {.max_steps = 100});
    return result.reason == StopReason::max_steps ? known->x().abs().max().item<double>() : HUGE_VAL;
  };
  EXPECT_GT(end_of({.multiplier = 0.1}), 1e100);
  EXPECT_LT(end_of({}), 1.5);
}

/// Two sources with losses (y - m)^2 / 2, m = 0 and 1, weighed by softmax(x); f = (y - 0.3)^2 / 2, so that the weights should be
/// 0.7 and 0.3 whatever the multiplier.
struct TwoSources {
  torch::Tensor x = torch::zeros({2}, torch::kFloat64).requires_grad_(),
                y = torch::full({1}, 0.5, torch::kFloat64).requires_grad_();

  Problem problem() const {
    return {.upper = {.parameters = {x},
                      .loss = [*this](const Batch&) { return 0.5 * (y - 0.3).square().sum(); },
                      .batches = no_data()},
            .lower = {.parameters = {y},
                      .loss =
                          [*this](const Batch&) {
                            const torch::Tensor m = torch::tensor({0.0, 1.0}, torch::kFloat64);
                            return x.softmax(0).dot(0.5 * (y - m).square());
                          },
                      .batches = no_data()}};
  }
};

F2SAOptions saddle(double multiplier, double upper, double lower, double penalized) {
  return {.upper_step_size = upper,
          .lower_step_size = lower,
          .multiplier = multiplier,
          .multiplier_growth = 0,
          .lower_steps = 1,
          .penalized_rate = penalized * (1 + multiplier) / lower,
          .order = Order::simultaneous,
          .samples = Samples::shared};
}

// Three steps by hand: step sizes 0.1 on w, 0.02 on y, 0.05 on x, lambda = 10.
TEST(F2SA, TheSaddleFormHasItsGoldenValues) {
  const TwoSources sources;
  F2SA solver(saddle(10, 0.05, 0.1, 0.02));
  const double y[] = {0.496, 0.49288, 0.490396400004}, w[] = {0.5, 0.5, 0.499975000002},
               x[] = {0, 0.0005, 0.001389999778};
  const auto compare = [&](const MadeStep& made, Oracles& oracles) {
    const auto k = static_cast<size_t>(made.step) - 1;
    EXPECT_NEAR(oracles.y().flat()[0].item<double>(), y[k], 1e-11) << k;
    EXPECT_NEAR(solver.w()[0].item<double>(), w[k], 1e-11) << k;
    EXPECT_NEAR(oracles.x().flat()[0].item<double>(), x[k], 1e-11) << k;
    EXPECT_NEAR(oracles.x().flat()[1].item<double>(), -x[k], 1e-11) << k;
    return true;
  };
  run(sources.problem(), solver, {.max_steps = 3, .callback = compare});
}

// A y that follows x twice as fast as w does leaves x swinging for ever; equal rates find the weights.
TEST(F2SA, TheSaddleFormNeedsEqualRates) {
  const auto swing = [](double lower) {
    const TwoSources sources;
    F2SA solver(saddle(100, 0.05, lower, 0.002));
    double least = 1, most = 0;
    const auto watch = [&](const MadeStep& made, Oracles& oracles) {
      if (made.step <= 2000) return true;
      const double share = oracles.x().flat().softmax(0)[0].item<double>();
      least = std::min(least, share);
      most = std::max(most, share);
      return true;
    };
    run(sources.problem(), solver, {.max_steps = 3000, .callback = watch, .trace_every = 3000});
    return std::pair(least, most);
  };
  const auto cycle = swing(0.1), equal = swing(0.202);
  EXPECT_LT(cycle.first, 0.1);
  EXPECT_GT(cycle.second, 0.9);
  EXPECT_NEAR(equal.first, 0.7, 1e-4);
  EXPECT_NEAR(equal.second, 0.7, 1e-4);
}

TEST(F2SA, RefusesImpossibleOptions) {
  for (const char* assignment : {"upper_step_size=0", "multiplier=0", "multiplier_growth=-1", "lower_steps=0",
                                 "samples=none", "neumann_terms=3"}) {
    F2SA solver;
    EXPECT_THROW(fields_of(solver).set_text(assignment), InputError) << assignment;
  }
  P1 p1;
  F2SA solver({.multiplier = -1});
  EXPECT_THROW(run(p1.problem(), solver, {}), InputError);
}

}  // namespace f2sa_test
}  // namespace bilevel
