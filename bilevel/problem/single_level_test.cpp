#include "bilevel/problem/single_level.h"

#include <cmath>

#include "bilevel/core/error.h"
#include "bilevel/solver/registry.h"
#include "bilevel/solver/run.h"
#include "tests/support.h"

namespace bilevel {
namespace single_level_test {

/// f = sum (x - c)^2, float64; counts its evaluations.
struct Square {
  torch::Tensor x = torch::zeros({2}, torch::kFloat64).requires_grad_();
  torch::Tensor c = torch::tensor({1.0, -2.0}, torch::kFloat64);
  int64_t evaluations = 0;

  Problem problem() {
    return single_level({.parameters = {x},
                         .loss =
                             [this](const Batch&) {
                               ++evaluations;
                               return (x - c).square().sum();
                             },
                         .batches = no_data()});
  }
};

// AdamBO on it is Adam, with one evaluation of f a step beside the one that probes it.
TEST(SingleLevel, AdamBOIsAdam) {
  Square square;
  const auto solver = make_solver("adambo");
  fields_of(*solver).set("upper_step_size", 0.1);
  const Result result = run(square.problem(), *solver, {.max_steps = 5});
  torch::Tensor x = torch::zeros({2}, torch::kFloat64), m = torch::zeros_like(x), v = torch::zeros_like(x);
  for (int t = 1; t <= 5; ++t) {
    const torch::Tensor g = 2 * (x - square.c);
    m = 0.9 * m + 0.1 * g;
    v = 0.999 * v + 0.001 * g * g;
    x = x - 0.1 * (m / (1 - std::pow(0.9, t))) / ((v / (1 - std::pow(0.999, t))).sqrt() + 1e-8);
  }
  EXPECT_LT(distance(square.x, x), 1e-12);
  EXPECT_EQ(square.evaluations, 8) << "five steps, the probe, and the objective at the start and the end";
  EXPECT_EQ(result.oracle_calls.steps.upper_gradient, 5);
}

TEST(SingleLevel, EverySolverRunsOnItAndLeavesYAtRest) {
  for (const SolverEntry& entry : solver_registry()) {
    Square square;
    const Problem problem = square.problem();
    const auto solver = entry.make();
    const Result result = run(problem, *solver, {.max_steps = 20});
    EXPECT_EQ(result.reason, StopReason::max_steps) << entry.name << ": " << result.message;
    EXPECT_NEAR(problem.lower.parameters[0].item<double>(), 0, 1e-12) << entry.name;
    EXPECT_LT((square.x - square.c).norm().item<double>(), square.c.norm().item<double>()) << entry.name;
  }
}

TEST(SingleLevel, NeedsParameters) {
  EXPECT_CONTAINS(message_of<InputError>([] { single_level({}); }), "no parameters");
}

}  // namespace single_level_test
}  // namespace bilevel
