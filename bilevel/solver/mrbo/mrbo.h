// MRBO: recursive momentum on both levels, one loop, full Neumann series (Yang, Ji and Liang, NeurIPS 2021).
//
// SUSTAIN's recursion with another estimate of the hypergradient. Iteration t = 0, 1, ... reads x_t and y_t
// only:
//   d_y = grad_y G(x_t, y_t; zeta_t) + (1-theta_y) (d_y - grad_y G(x_{t-1}, y_{t-1}; zeta_t))
//   d_x = h(x_t, y_t; xi_t)          + (1-theta_x) (d_x - h(x_{t-1}, y_{t-1}; xi_t))
//   y_{t+1} = y_t - eta_y d_y,         x_{t+1} = x_t - eta_x d_x
// At t = 0 both directions are the plain estimates. h has the sum of Q + 1 summands, q = 0, ..., Q, with Q
// products:
//   z = eta_N sum_{q<=Q} prod_{j<=q} (I - eta_N d2G(zeta_j)/dy2) grad_y F,
// with the same samples at both points.
//
// Differs from the paper:
// - The step sizes are constant by default. `schedule = paper`: eta_t = eta (t+1)^(-1/3) and, as their
//   squares, theta_t = theta (t+1)^(-2/3), for each level by its own schedule.
// - Every factor has a batch of the ordinary size.
// - The Neumann sum is nested (see adambo.h).
#pragma once

#include "bilevel/solver/parts/storm.h"

namespace bilevel {

using MrboOptions = StormOptions<NeumannSum::sum>;

/// The algorithm. The report's hypergradient and loss are h(x_t, y_t; xi_t) and F there. Calls of T
/// iterations: 2T - 1 each of lower_gradient, upper_gradient and cross_vjp, and (2T-1) Q hvp. Samples an
/// iteration: one upper batch and 2 + Q lower batches (2 for a data-free lower Hessian). Memory: d_x, d_y and
/// the previous x and y.
class Mrbo : public Storm<NeumannSum::sum> {
 public:
  using Storm::Storm;

  std::string name() const override { return "mrbo"; }
};

}  // namespace bilevel
