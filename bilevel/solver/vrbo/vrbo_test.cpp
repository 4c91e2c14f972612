#include "bilevel/solver/vrbo/vrbo.h"

#include "bilevel/task/quadratic/quadratic.h"
#include "tests/noisy_p1.h"
#include "tests/problems.h"
#include "tests/support.h"

namespace bilevel {
namespace vrbo_test {

/// VRBO on NoisyP1 in plain numbers, from the equations in the header.
struct ScalarVrbo {
  VrboOptions o;
  double eta_y = 0, eta_n = 0;
  bool old_x_is_new = false;  ///< the defect of known programs: the old point of t = 0 has the new x
  Coordinates x{}, y{}, d_x{}, d_y{}, last_x{}, last_y{};
  int64_t k = 0;

  void warm_start(NoisyP1Samples&) {}
  void step(NoisyP1Samples& samples) {
    const size_t n = x.size();
    if (k % o.period == 0) {
      d_x = d_y = Coordinates(n);
      for (int64_t b = 0; b < o.refresh_batches; ++b) {
        const auto zeta = samples.lower("lower_batches");
        const NoisyP1Draw xi = samples.estimate(o.neumann_terms - 1);
        for (size_t i = 0; i < n; ++i) {
          d_y[i] += NoisyP1Draw::lower_gradient(zeta, x[i], y[i]) / static_cast<double>(o.refresh_batches);
          d_x[i] += xi.hypergradient(x[i], y[i], eta_n) / static_cast<double>(o.refresh_batches);
        }
      }
      last_x = x;
      last_y = y;
    }
    Coordinates old_x = o.old_point == OldPoint::iteration_start ? x : last_x,
                old_y = o.old_point == OldPoint::iteration_start ? y : last_y;
    for (size_t i = 0; i < n; ++i) x[i] -= o.upper_step_size * d_x[i];
    if (old_x_is_new) old_x = x;
    for (int64_t t = 0; t < o.lower_steps; ++t) {
      const auto zeta = samples.lower("lower_batches");
      const NoisyP1Draw xi = samples.estimate(o.neumann_terms - 1);
      for (size_t i = 0; i < n; ++i) {
        d_y[i] += NoisyP1Draw::lower_gradient(zeta, x[i], y[i]) -
                  NoisyP1Draw::lower_gradient(zeta, old_x[i], old_y[i]);
        d_x[i] += xi.hypergradient(x[i], y[i], eta_n) - xi.hypergradient(old_x[i], old_y[i], eta_n);
      }
      old_x = last_x = x;
      old_y = last_y = y;
      for (size_t i = 0; i < n; ++i) y[i] -= eta_y * d_y[i];
    }
    ++k;
  }
};

VrboOptions some_options() {
  return {.upper_step_size = 0.02,
          .lower_step_size = 0.3,
          .neumann_step_size = 0.4,
          .neumann_terms = 3,
          .period = 3,
          .lower_steps = 2,
          .refresh_batches = 4};
}

TEST(Vrbo, EqualsScalarComputation) {
  for (const OldPoint old_point : {OldPoint::iteration_start, OldPoint::last_update}) {
    for (const int64_t period : {1, 3}) {
      for (const int64_t lower_steps : {1, 3}) {
        for (const double noise : {0.0, 0.3}) {
          VrboOptions options = some_options();
          options.old_point = old_point;
          options.period = period;
          options.lower_steps = lower_steps;
          Vrbo solver(options);
          ScalarVrbo reference{.o = options, .eta_y = 0.3, .eta_n = 0.4};
          EXPECT_LE(largest_difference(solver, reference, noise, 50), 1e-10)
              << name_of(old_point) << " " << period << " " << lower_steps << " " << noise;
        }
      }
    }
  }
}

TEST(Vrbo, TheFirstDifferenceReadsTheOldX) {
  Vrbo solver(some_options());
  ScalarVrbo wrong{.o = some_options(), .eta_y = 0.3, .eta_n = 0.4, .old_x_is_new = true};
  EXPECT_GT(largest_difference(solver, wrong, 0, 50), 1e-3);
}

/// ||d_y - grad_y g|| + ||d_x - the estimate|| at the point where both were updated last, largest over 30
/// steps of a problem without noise.
double largest_drift(OldPoint old_point) {
  const Quadratic quadratic({.lower_curvature_min = 0.5});
  Oracles oracles(quadratic.problem(), 1);
  Vrbo solver({.upper_step_size = 0.05,
               .lower_step_size = 0.4,
               .neumann_step_size = 1.0,
               .neumann_terms = 81,
               .period = 10,
               .lower_steps = 2,
               .refresh_batches = 1,
               .old_point = old_point});
  solver.start(oracles, 30);
  double worst = 0;
  for (int k = 0; k < 30; ++k) {
    solver.step(oracles);
    State state;
    solver.state(state);
    const torch::Tensor x = state.tensors().at("last/x"), y = state.tensors().at("last/y");
    worst = std::max(
        {worst, distance(state.tensors().at("d_y"), quadratic.A.mv(y) + quadratic.C.t().mv(x) + quadratic.a),
         distance(state.tensors().at("d_x"), quadratic.hypergradient(x, y))});
  }
  return worst;
}

TEST(Vrbo, DifferencesFromTheLastPointTelescope) {
  EXPECT_LE(largest_drift(OldPoint::last_update), 1e-10);
  EXPECT_GT(largest_drift(OldPoint::iteration_start), 1e-2);  // as the paper is written: documented
}

TEST(Vrbo, CountsOfRefreshesAndDifferences) {
  const Ridge ridge;
  Vrbo solver({.neumann_terms = 4, .period = 4, .lower_steps = 3, .refresh_batches = 5});
  const Result result = run(ridge.problem(), solver, {.max_steps = 9});
  const int64_t evaluations = 3 * 5 + 2 * 3 * 9;  // refreshes at k = 0, 4, 8
  EXPECT_EQ(result.oracle_calls.steps.lower_gradient, evaluations);
  EXPECT_EQ(result.oracle_calls.steps.upper_gradient, evaluations);
  EXPECT_EQ(result.oracle_calls.steps.hvp, 3 * evaluations);
  EXPECT_EQ(result.oracle_calls.steps.upper_samples, 4 * (3 * 5 + 3 * 9));  // both points share a sample
  EXPECT_EQ(result.oracle_calls.warm_start.lower_gradient, 0);
}

}  // namespace vrbo_test
}  // namespace bilevel
