#include "bilevel/solver/stocbio/stocbio.h"

#include <cmath>

#include "bilevel/task/quadratic/quadratic.h"
#include "tests/problems.h"
#include "tests/support.h"
#include "tests/trajectory.h"

namespace bilevel {
namespace stocbio_test {

/// StocBiO on one coordinate of P1, written from the paper's equations.
struct ScalarStocBiO {
  StocBiOOptions o;
  P1 p;
  int64_t steps;
  double x, y = 0;
  int64_t k = 0;

  void step() {
    const double rate_x = course_factor(o.schedule, k, steps, 0);
    const double rate_y = o.lower_schedule == "same" ? rate_x : course_factor(o.lower_schedule, k, steps, 0);
    for (int64_t n = 0; n < o.lower_steps; ++n) y -= *o.lower_step_size.value * rate_y * p.mu * (y - p.a * x);
    const double eta = *o.neumann_step_size.value;
    double z = 0;
    for (int64_t q = 0; q < o.neumann_terms; ++q) {
      z += eta * std::pow(1 - eta * p.mu, q) * p.b * std::cos(y);
    }
    x -= o.upper_step_size * rate_x * (p.c * std::sinh(p.c * x) + p.a * p.mu * z);  // J = -a mu
    ++k;
  }
};

TEST(StocBiO, EqualsScalarComputationInEveryVariant) {
  constexpr int64_t kSteps = 60;
  for (const int64_t lower_steps : {1, 3}) {
    for (const int64_t terms : {1, 2, 5}) {
      for (const auto& [schedule, lower_schedule] : {std::pair{"constant", "same"},
                                                     {"paper", "same"},
                                                     {"cosine", "constant"},
                                                     {"polynomial", "same"}}) {
        SCOPED_TRACE(std::string(schedule) + " " + std::to_string(lower_steps) + " " + std::to_string(terms));
        const StocBiOOptions options{.upper_step_size = 0.05,
                                     .lower_step_size = 0.3,
                                     .neumann_step_size = 0.6,
                                     .neumann_terms = terms,
                                     .lower_steps = lower_steps,
                                     .schedule = schedule,
                                     .lower_schedule = lower_schedule};
        const P1 p1 = uneven_p1();
        StocBiO solver(options);
        EXPECT_LT(worst_difference(p1, solver, kSteps,
                                   [&](double x) {
                                     return ScalarStocBiO{.o = options, .p = p1, .steps = kSteps, .x = x};
                                   }),
                  1e-12);
      }
    }
  }
}

// Every derivative has rows of its own: N for y, Q for the factors, one for the cross product.
TEST(StocBiO, DrawsTheDocumentedSamples) {
  constexpr int64_t kSteps = 6;
  Ridge ridge;
  StocBiO solver({.neumann_terms = 5, .lower_steps = 3});
  const OracleCounts counts = run(ridge.problem(), solver, {.max_steps = kSteps}).oracle_calls.steps;
  EXPECT_EQ(counts.upper_samples, kSteps * 4);
  EXPECT_EQ(counts.lower_samples, kSteps * 5 * (3 + 4 + 1));

  Ridge known;
  Problem problem = known.problem();
  problem.lower_hessian = [](const torch::Tensor& v) { return 2 * v; };
  StocBiO with_hessian(
      {.lower_step_size = 0.1, .neumann_step_size = 0.1, .neumann_terms = 5, .lower_steps = 3});
  EXPECT_EQ(run(problem, with_hessian, {.max_steps = kSteps}).oracle_calls.steps.lower_samples,
            kSteps * 5 * (3 + 1));
}

TEST(StocBiO, AutomaticStepSizesComeFromTheCurvature) {
  P1 p1(4, 0.5);
  p1.mu = 4;
  StocBiO solver;
  const Result result = run(p1.problem(), solver, {.max_steps = 1});
  EXPECT_NEAR(result.chosen["lower_step_size"].get<double>(), 0.125, 1e-12);
  EXPECT_NEAR(result.chosen["neumann_step_size"].get<double>(), 0.25, 1e-12);
  EXPECT_EQ(result.oracle_calls.warm_start, OracleCounts{}) << "the paper has no warm start";
}

// With enough steps on y and enough terms both are exact, so x takes steps of gradient descent on Phi: the
// remaining errors, (1 - 0.9)^18 = 1e-18 of y - y* and of z - z*, are below rounding, which contracting steps
// do not enlarge.
TEST(StocBiO, WithManyStepsAndTermsIsGradientDescentOnPhi) {
  const Quadratic quadratic({.lower_curvature_min = 0.9});
  const auto worst_distance = [&](int64_t steps, int64_t terms) {
    quadratic.x.data().fill_(1);
    torch::Tensor x = quadratic.x.detach().clone();
    StocBiO solver({.upper_step_size = 0.05,
                    .lower_step_size = 1.0,
                    .neumann_step_size = 1.0,
                    .neumann_terms = terms,
                    .lower_steps = steps});
    double worst = 0;
    const auto compare = [&](const MadeStep&, Oracles& oracles) {
      x = x - 0.05 * quadratic.gradient(x);
      worst = std::max(worst, distance(oracles.x().flat(), x));
      return true;
    };
    run(quadratic.problem(), solver, {.max_steps = 40, .callback = compare});
    return worst;
  };
  EXPECT_LT(worst_distance(18, 19), 1e-12);
  EXPECT_GT(worst_distance(18, 3), 1e-6) << "the comparison can tell";
  EXPECT_GT(worst_distance(1, 19), 1e-6);
}

TEST(StocBiO, RefusesImpossibleOptions) {
  for (const char* assignment : {"upper_step_size=0", "neumann_terms=0", "lower_steps=0",
                                 "lower_step_size=soon", "schedule=linear", "momentum_weight=0.1"}) {
    StocBiO solver;
    EXPECT_THROW(fields_of(solver).set_text(assignment), InputError) << assignment;
  }
  P1 p1;
  StocBiO solver({.upper_step_size = -1});
  EXPECT_THROW(run(p1.problem(), solver, {}), InputError);
}

}  // namespace stocbio_test
}  // namespace bilevel
