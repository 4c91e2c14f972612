#include "bilevel/solver/ttsa/ttsa.h"

#include <cmath>

#include "bilevel/problem/sets.h"
#include "tests/problems.h"
#include "tests/support.h"
#include "tests/trajectory.h"

namespace bilevel {
namespace ttsa_test {

constexpr uint64_t kSeed = 17;

/// TTSA on one coordinate of P1, written from the paper's equations; `truncations` holds the drawn p of every
/// step.
struct ScalarTTSA {
  TTSAOptions o;
  P1 p;
  int64_t steps;
  std::vector<int64_t> truncations;
  double low, high;  // the feasible interval of x
  double x, y = 0;
  size_t k = 0;

  void step() {
    const auto t = static_cast<int64_t>(k);
    const double alpha = o.upper_step_size * course_factor(o.schedule, t, steps, 3.0 / 5);
    const double beta =
        *o.lower_step_size.value *
        course_factor(o.lower_schedule == "same" ? o.schedule : o.lower_schedule, t, steps, 2.0 / 5);
    y -= beta * p.mu * (y - p.a * x);
    const double eta = *o.neumann_step_size.value;
    double z = static_cast<double>(o.neumann_terms) * eta * p.b * std::cos(y);
    for (int64_t j = 0; j < truncations[k]; ++j) z *= 1 - eta * p.mu;
    x = std::clamp(x - alpha * (p.c * std::sinh(p.c * x) + p.a * p.mu * z), low, high);  // J = -a mu
    ++k;
  }
};

/// The numbers that a run of the given seed draws from its stream "truncation".
std::vector<int64_t> drawn_truncations(int64_t steps, int64_t terms) {
  Streams streams(kSeed);
  std::vector<int64_t> drawn;
  for (int64_t k = 0; k < steps; ++k) {
    drawn.push_back(static_cast<int64_t>(streams.draw("truncation") % static_cast<uint64_t>(terms)));
  }
  return drawn;
}

TEST(TTSA, EqualsScalarComputationInEveryVariant) {
  constexpr int64_t kSteps = 60;
  for (const int64_t terms : {1, 2, 9}) {  // with one term nothing is random
    for (const auto& [schedule, lower_schedule] :
         {std::pair{"constant", "same"}, {"paper", "same"}, {"cosine", "constant"}, {"constant", "paper"}}) {
      for (const bool bounded : {false, true}) {
        SCOPED_TRACE(std::string(schedule) + " " + lower_schedule + " " + std::to_string(terms));
        const TTSAOptions options{.upper_step_size = 0.05,
                                  .lower_step_size = 0.4,
                                  .neumann_step_size = 0.5,
                                  .neumann_terms = terms,
                                  .schedule = schedule,
                                  .lower_schedule = lower_schedule};
        const P1 p1 = uneven_p1();
        const double low = bounded ? -0.1 : -HUGE_VAL;
        const double high = bounded ? 0.15 : HUGE_VAL;
        Problem problem = p1.problem();
        if (bounded) problem.upper.project = box(low, high);
        TTSA solver(options);
        const auto make = [&](double x) {
          return ScalarTTSA{.o = options,
                            .p = p1,
                            .steps = kSteps,
                            .truncations = drawn_truncations(kSteps, terms),
                            .low = low,
                            .high = high,
                            .x = x};
        };
        EXPECT_LT(worst_difference(problem, p1.x, solver, kSteps, make, kSeed), 1e-12);
      }
    }
  }
}

TEST(TTSA, EveryTruncationIsDrawn) {
  constexpr int64_t kSteps = 60;
  constexpr int64_t kTerms = 4;
  Ridge ridge;
  TTSA solver({.neumann_terms = kTerms});
  const OracleCounts counts =
      run(ridge.problem(), solver, {.max_steps = kSteps, .seed = kSeed}).oracle_calls.steps;
  std::vector<int64_t> seen(kTerms);
  int64_t factors = 0;
  for (const int64_t p : drawn_truncations(kSteps, kTerms)) {
    ++seen[static_cast<size_t>(p)];
    factors += p;
  }
  for (const int64_t count : seen) EXPECT_GT(count, 0) << "the draws cover 0, ..., Q-1";
  EXPECT_EQ(counts.hvp, factors);
  EXPECT_EQ(counts.upper_samples, kSteps * 4);
  EXPECT_EQ(counts.lower_samples, (kSteps * 2 + factors) * 5);
}

TEST(TTSA, RefusesImpossibleOptions) {
  for (const char* assignment :
       {"upper_step_size=0", "neumann_terms=0", "lower_step_size=0", "schedule=3/5", "lower_steps=2"}) {
    TTSA solver;
    EXPECT_THROW(fields_of(solver).set_text(assignment), InputError) << assignment;
  }
  P1 p1;
  TTSA solver({.neumann_terms = 0});
  EXPECT_THROW(run(p1.problem(), solver, {}), InputError);
}

}  // namespace ttsa_test
}  // namespace bilevel
