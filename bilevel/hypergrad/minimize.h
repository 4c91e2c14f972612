// Minimizing a lower objective accurately, from gradients alone.
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "bilevel/oracle/oracles.h"

namespace bilevel {

/// The value and the gradient of a function of a flat variable.
using ValueAndGradient = std::function<std::pair<double, torch::Tensor>(const torch::Tensor& y)>;

struct MinimizeOptions {
  int64_t max_gradients = 20000;  ///< evaluations of the function with its gradient
  double length = 1;              ///< of a move in y of order one: steps are measured by length + ||y||
  /// v -> about H^-1 v for the Hessian near the minimum, where somebody knows it: steps -H^-1 g are then tried first,
  /// as long as they make the gradient smaller; a step below 1e-5 (length + ||y||) that does not is round-off. What it
  /// is wrong about costs gradients.
  std::function<torch::Tensor(const torch::Tensor& v)> inverse = nullptr;
};

struct Minimum {
  torch::Tensor y;  ///< flat
  double value = 0;
  double gradient_norm = 0;  ///< the residual
  double distance = 0;       ///< length of the last Newton step computed: an estimate of ||y - y*||
  int64_t gradients = 0;     ///< evaluations spent
  bool converged =
      false;  ///< the last Newton step is round-off, or the gradient zero, or steps below 1e-5 (length + ||y||)
              ///< make the gradient no smaller: see `distance` for how near that is
  std::string message;  ///< why not
};

/// A local minimum near `start` to round-off, where there is one: truncated Newton with conjugate gradients
/// and a backtracking line search. Products with the Hessian are differences of gradients along the
/// direction, so that the answer depends on no second derivative that somebody may have got wrong: one-sided, and
/// central from where curvature below what one-sided ones resolve (5e-7 of the largest, in float64) is met on. Curvature
/// below 1e-9 of the largest (float32: 7e-4) passes for none. Deterministic.
Minimum minimize(const ValueAndGradient& function, const torch::Tensor& start,
                 const MinimizeOptions& options = {});

/// Moves y to a minimum of G(x, .; sample) near the present y, at the present x. Counts `lower_gradient`.
Minimum solve_lower(Oracles& oracles, const Sample& lower, const MinimizeOptions& options = {});

}  // namespace bilevel
