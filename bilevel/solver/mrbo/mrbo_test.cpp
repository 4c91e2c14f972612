#include "bilevel/solver/mrbo/mrbo.h"

#include "bilevel/task/quadratic/quadratic.h"
#include "tests/noisy_p1.h"
#include "tests/support.h"

namespace bilevel {
namespace mrbo_test {

void expect_scalar_path(const MrboOptions& options) {
  for (const double noise : {0.0, 0.3}) {
    Mrbo solver(options);
    ScalarStorm reference{.random = false,
                          .summands = options.neumann_terms,
                          .eta_x = options.upper_step_size,
                          .eta_y = *options.lower_step_size.value,
                          .eta_n = *options.neumann_step_size.value,
                          .theta_x = options.momentum_weight,
                          .theta_y = options.lower_momentum_weight,
                          .paper_x = options.schedule == "paper",
                          .paper_y = options.schedule == "paper"};
    EXPECT_LE(largest_difference(solver, reference, noise, 60), 1e-10) << "noise " << noise;
  }
}

TEST(Mrbo, EqualsScalarComputation) {
  for (const int64_t terms : {1, 2, 5}) {
    for (const std::string schedule : {"constant", "paper"}) {
      SCOPED_TRACE(std::to_string(terms) + " " + schedule);
      expect_scalar_path({.upper_step_size = 0.02,
                          .lower_step_size = 0.3,
                          .neumann_step_size = 0.4,
                          .neumann_terms = terms,
                          .momentum_weight = 0.2,
                          .lower_momentum_weight = 0.5,
                          .schedule = schedule});
    }
  }
}

// Exact oracles: both directions are the gradients, whatever the weights.
TEST(Mrbo, WithoutNoiseIsGradientDescentOnBothLevels) {
  const Quadratic quadratic({.lower_curvature_min = 0.5});
  Mrbo solver({.upper_step_size = 0.02,
               .lower_step_size = 0.8,
               .neumann_step_size = 1.0,
               .neumann_terms = 61,
               .momentum_weight = 0.05,
               .lower_momentum_weight = 0.3});
  torch::Tensor x = quadratic.x.detach().clone(), y = quadratic.y.detach().clone();
  double worst = 0;
  run(quadratic.problem(), solver,
      {.max_steps = 100, .callback = [&](const MadeStep&, Oracles& oracles) {
         const torch::Tensor h = quadratic.hypergradient(x, y);
         y = y - 0.8 * (quadratic.A.mv(y) + quadratic.C.t().mv(x) + quadratic.a);
         x = x - 0.02 * h;
         worst = std::max({worst, distance(oracles.x().flat(), x), distance(oracles.y().flat(), y)});
         return true;
       }});
  EXPECT_LE(worst, 1e-9);
}

}  // namespace mrbo_test
}  // namespace bilevel
