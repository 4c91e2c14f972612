// Hypergradients against the slope of the problem that is solved below.
#pragma once

#include <gtest/gtest.h>
#include <torch/types.h>

#include "bilevel/hypergrad/implicit.h"
#include "bilevel/hypergrad/minimize.h"
#include "bilevel/linear/cg/cg.h"
#include "bilevel/oracle/oracles.h"

namespace bilevel {

/// f(x, y*(x)); leaves both there.
inline double solved_value(Oracles& oracles, const torch::Tensor& x, const Sample& upper,
                           const Sample& lower) {
  oracles.x().assign(x);
  oracles.y().assign(solve_lower(oracles, lower).y);
  return oracles.upper().point(upper).value().item<double>();
}

/// Expects that the implicit hypergradient at x, by conjugate gradients, is the slope of `solved_value` by central differences, and that
/// every number of x matters. Of smooth problems in float64.
inline void expect_slope_of_solved(Oracles& oracles, const torch::Tensor& x, const Sample& upper,
                                   const Sample& lower, int64_t max_iterations) {
  solved_value(oracles, x, upper, lower);
  auto [f, g] = oracles.points(upper, lower);
  EXPECT_LT(g.grad_y().abs().max().item<double>(), 1e-9);
  const Hypergradient found = implicit_hypergradient(oracles, f, g, [&](const torch::Tensor& b) {
    return conjugate_gradients(point_hessian(g), b, {.max_iterations = max_iterations, .tolerance = 1e-12});
  });
  ASSERT_FALSE(found.linear.failed) << found.linear.message;
  ASSERT_EQ(found.value.numel(), x.numel());
  constexpr double h = 1e-4;
  for (int64_t j = 0; j < x.numel(); ++j) {
    torch::Tensor step = torch::zeros_like(x);
    step[j] = h;
    const double slope =
        (solved_value(oracles, x + step, upper, lower) - solved_value(oracles, x - step, upper, lower)) /
        (2 * h);
    EXPECT_NEAR(found.value[j].item<double>(), slope, 1e-7) << j;  // third derivatives times h^2
  }
  EXPECT_GT(found.value.abs().min().item<double>(), 1e-6) << "every hyperparameter matters";
}

}  // namespace bilevel
