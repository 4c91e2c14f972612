#include "bilevel/solver/amigo/amigo.h"

#include <cmath>

#include "tests/problems.h"
#include "tests/support.h"
#include "tests/trajectory.h"

namespace bilevel {
namespace amigo_test {

/// AmIGO on one coordinate of P1, written from the paper's equations.
struct ScalarAmIGO {
  AmIGOOptions o;
  P1 p;
  int64_t steps;
  double x, y = 0, z = 0;
  int64_t k = 0;

  void step() {
    const auto rate = [&](const std::string& own) {
      return course_factor(own == "same" ? o.schedule : own, k, steps, 0);
    };
    for (int64_t n = 0; n < o.lower_steps; ++n) {
      y -= *o.lower_step_size.value * rate(o.lower_schedule) * p.mu * (y - p.a * x);
    }
    const double b = p.b * std::cos(y);
    for (int64_t n = 0; n < o.linear_steps; ++n) {
      z -= *o.linear_step_size.value * rate(o.linear_schedule) * (p.mu * z - b);
    }
    x -= o.upper_step_size * rate("same") * (p.c * std::sinh(p.c * x) + p.a * p.mu * z);  // J = -a mu
    ++k;
  }
};

TEST(AmIGO, EqualsScalarComputationInEveryVariant) {
  constexpr int64_t kSteps = 60;
  struct Schedules {
    const char *all, *lower, *linear;
  };
  for (const int64_t lower_steps : {1, 3}) {
    for (const int64_t linear_steps : {1, 4}) {
      for (const auto& [all, lower, linear] : {Schedules{"constant", "same", "same"},
                                               {"paper", "same", "same"},
                                               {"cosine", "constant", "same"},
                                               {"cosine", "same", "constant"},
                                               {"constant", "cosine", "polynomial"}}) {
        SCOPED_TRACE(std::string(all) + " " + lower + " " + linear);
        const AmIGOOptions options{.upper_step_size = 0.05,
                                   .lower_step_size = 0.3,
                                   .linear_step_size = 0.2,
                                   .lower_steps = lower_steps,
                                   .linear_steps = linear_steps,
                                   .schedule = all,
                                   .lower_schedule = lower,
                                   .linear_schedule = linear};
        const P1 p1 = uneven_p1();
        AmIGO solver(options);
        const auto make = [&](double x) {
          return ScalarAmIGO{.o = options, .p = p1, .steps = kSteps, .x = x};
        };
        EXPECT_LT(worst_difference(p1, solver, kSteps, make), 1e-12);
        ScalarAmIGO first = make(1.2);  // the first coordinate
        for (int64_t k = 0; k < kSteps; ++k) first.step();
        EXPECT_NEAR(solver.z()[0].item<double>(), first.z, 1e-12);
      }
    }
  }
}

// One upper batch an iteration: grad_y F is held fixed over the steps on z.
TEST(AmIGO, DrawsTheDocumentedSamples) {
  constexpr int64_t kSteps = 6;
  Ridge ridge;
  AmIGO solver({.lower_steps = 3, .linear_steps = 2});
  const OracleCounts counts = run(ridge.problem(), solver, {.max_steps = kSteps}).oracle_calls.steps;
  EXPECT_EQ(counts.upper_samples, kSteps * 4);
  EXPECT_EQ(counts.lower_samples, kSteps * 5 * (3 + 2 + 1));
}

TEST(AmIGO, TheReportedResidualIsThatBeforeTheLastStepOnZ) {
  const P1 p1 = uneven_p1();
  AmIGO solver({.lower_step_size = 0.3, .linear_step_size = 0.2, .linear_steps = 3});
  const Result result = run(p1.problem(), solver, {.max_steps = 1});
  // From z = 0 the residual mu z - b contracts by 1 - 0.2 mu a step; b is at y after 10 steps.
  const torch::Tensor y = 0.7 * uneven_p1().x.detach() * (1 - std::pow(1 - 0.3 * 0.8, 10));
  const double b = (-1.3 * torch::cos(y)).norm().item<double>();
  EXPECT_NEAR(result.trace.front().linear_residual, b * std::pow(1 - 0.2 * 0.8, 2), 1e-12);
}

TEST(AmIGO, AutomaticStepSizesComeFromTheCurvature) {
  P1 p1(4, 0.5);
  p1.mu = 4;
  AmIGO solver;
  const Result result = run(p1.problem(), solver, {.max_steps = 1});
  EXPECT_NEAR(result.chosen["lower_step_size"].get<double>(), 0.125, 1e-12);
  EXPECT_NEAR(result.chosen["linear_step_size"].get<double>(), 0.125, 1e-12);
  EXPECT_EQ(result.oracle_calls.warm_start, OracleCounts{}) << "the paper has no warm start";
}

TEST(AmIGO, RefusesImpossibleOptions) {
  for (const char* assignment :
       {"upper_step_size=0", "linear_steps=0", "lower_steps=0", "linear_step_size=0", "neumann_terms=3"}) {
    AmIGO solver;
    EXPECT_THROW(fields_of(solver).set_text(assignment), InputError) << assignment;
  }
  P1 p1;
  AmIGO solver({.linear_steps = 0});
  EXPECT_THROW(run(p1.problem(), solver, {}), InputError);
}

}  // namespace amigo_test
}  // namespace bilevel
