// min over x of 1/2 (y*(x) - 3)^2 with y*(x) = x: the solution is 3.
#include <torch/types.h>

#include <cmath>
#include <iostream>

#include "bilevel/solver/adambo/adambo.h"
#include "bilevel/solver/run.h"

extern "C" int consume() {
  const torch::Tensor x = torch::zeros({1}, torch::kFloat64).requires_grad_();
  const torch::Tensor y = torch::zeros({1}, torch::kFloat64).requires_grad_();
  const bilevel::Problem problem{
      .upper = {.parameters = {x},
                .loss = [&](const bilevel::Batch&) { return 0.5 * (y - 3).square().sum(); },
                .batches = bilevel::no_data()},
      .lower = {.parameters = {y},
                .loss = [&](const bilevel::Batch&) { return 0.5 * (y - x).square().sum(); },
                .batches = bilevel::no_data()}};
  bilevel::AdamBO solver({.upper_step_size = 0.05});
  const bilevel::Result result = bilevel::run(problem, solver, {.max_steps = 1000});
  std::cout << result.brief() << "\n";
  return result.reason == bilevel::StopReason::max_steps && std::abs(x.item<double>() - 3) < 0.01 ? 0 : 1;
}
