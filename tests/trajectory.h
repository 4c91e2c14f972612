// Comparing a whole run with scalar arithmetic.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <string>
#include <vector>

#include "bilevel/solver/run.h"
#include "bilevel/task/p1/p1.h"

namespace bilevel {

/// P1 with constants that are all different, from coordinates that are all different.
inline P1 uneven_p1() {
  P1 p1(std::vector<double>{1.2, -0.8, 0.3, 0.0});
  p1.c = 1.5;
  p1.a = 0.7;
  p1.b = -1.3;
  p1.mu = 0.8;
  return p1;
}

/// The factor of a step size at iteration k of `steps`, from the words in `Course`.
inline double course_factor(const std::string& course, int64_t k, int64_t steps, double paper_exponent) {
  if (course == "cosine") {
    return 0.5 * (1 + std::cos(std::numbers::pi * static_cast<double>(k) / static_cast<double>(steps)));
  }
  if (course == "polynomial") return 1 / std::sqrt(static_cast<double>(k + 1));
  if (course == "paper") return std::pow(static_cast<double>(k + 1), -paper_exponent);
  return 1;
}

/// Runs `solver` on a problem whose coordinates do not interact, from `start`, beside one scalar computation
/// a coordinate, which has members x and y and a function step(), and is made by `make(x)`. The largest
/// difference of any coordinate of x and y after any step.
template <typename Make>
double worst_difference(const Problem& problem, const torch::Tensor& start, Solver& solver, int64_t steps,
                        const Make& make, uint64_t seed = 0) {
  const auto values = [](const torch::Tensor& t) {
    return std::vector<double>(t.data_ptr<double>(), t.data_ptr<double>() + t.numel());
  };
  std::vector<decltype(make(0.0))> scalars;
  for (const double x : values(start.detach())) scalars.push_back(make(x));
  double worst = 0;
  const auto compare = [&](const MadeStep&, Oracles& oracles) {
    const std::vector<double> x = values(oracles.x().flat()), y = values(oracles.y().flat());
    for (size_t i = 0; i < scalars.size(); ++i) {
      scalars[i].step();
      worst = std::max({worst, std::abs(x[i] - scalars[i].x), std::abs(y[i] - scalars[i].y)});
    }
    return true;
  };
  const Result result = run(problem, solver, {.max_steps = steps, .seed = seed, .callback = compare});
  return result.steps == steps && result.reason == StopReason::max_steps ? worst : HUGE_VAL;
}

template <typename Make>
double worst_difference(const P1& p1, Solver& solver, int64_t steps, const Make& make, uint64_t seed = 0) {
  return worst_difference(p1.problem(), p1.x, solver, steps, make, seed);
}

}  // namespace bilevel
