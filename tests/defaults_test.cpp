// With its defaults every solver comes nearer to the solution of every known problem that its theory covers, with exact
// derivatives and with noise.
#include <algorithm>

#include "bilevel/solver/registry.h"
#include "bilevel/solver/run.h"
#include "bilevel/task/known_metrics.h"
#include "tests/parameter_name.h"
#include "tests/support.h"

namespace bilevel {
namespace {

class Defaults : public ::testing::TestWithParam<SolverEntry> {};

INSTANTIATE_TEST_SUITE_P(Registry, Defaults, ::testing::ValuesIn(solver_registry()), NameOfParameter());

TEST_P(Defaults, AreNearerAfterSomeThousandCalls) {
  constexpr int64_t kCalls = 3000;
  const std::unique_ptr<Solver> any = GetParam().make();
  int64_t calls_a_step = 0;
  const nlohmann::ordered_json documented = GetParam().documented_calls(*any, 100).to_json();
  for (const auto& [kind, calls] : documented.items()) calls_a_step += calls.get<int64_t>() / 100;
  const int64_t steps = std::clamp<int64_t>(kCalls / calls_a_step, 50, 1000), last_ones = steps / 10;
  int covered = 0;
  for (const KnownProblemEntry& problem : known_problem_registry()) {
    for (const double noise : {0.0, 0.1}) {
      const std::unique_ptr<KnownProblem> known = problem.make();
      known->build(4);  // of the first instances of `quadratic` the one with the largest curvature of Phi, 25
      const torch::Tensor solution = known->solution();
      const std::unique_ptr<Solver> solver = GetParam().make();
      if (!solution.defined() || !out_of_theory(*solver, traits_of(*known, noise)).empty()) continue;
      SCOPED_TRACE(problem.name + (noise > 0 ? " with noise" : ""));
      ++covered;
      const auto distance = [&] { return (known->x().detach() - solution).norm().item<double>(); };
      const double start = distance();
      double last = 0, mean = 0;  // over the last tenth: with noise no single step says much
      const auto callback = [&](const MadeStep& row, Oracles&) {
        if (row.step > steps - last_ones) mean += (last = distance()) / static_cast<double>(last_ones);
        return true;
      };
      const Result result = run(with_noise(known->problem(), noise), *solver,
                                {.max_steps = steps, .seed = 1, .callback = callback, .trace_every = steps});
      EXPECT_EQ(result.reason, StopReason::max_steps) << result.message;
      EXPECT_LT(mean, start);
      if (noise == 0) {
        EXPECT_LT(last, start);
      }
    }
  }
  EXPECT_GE(covered, 3);
}

}  // namespace
}  // namespace bilevel
