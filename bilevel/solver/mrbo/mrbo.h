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
#include "bilevel/solver/registry.h"

namespace bilevel {

struct MrboOptions {
  double upper_step_size = 1e-2;       ///< eta_x
  StepSize lower_step_size = {};       ///< eta_y; auto: 1/(2l)
  StepSize neumann_step_size = {};     ///< eta_N; auto: 1/l
  int64_t neumann_terms = 11;          ///< Q + 1, the summands; Q Hessian-vector products
  double momentum_weight = 0.1;        ///< theta_x
  double lower_momentum_weight = 0.1;  ///< theta_y
  std::string schedule = "constant";   ///< course of eta_x and, unless it has its own, of eta_y
  std::string lower_schedule = "same";

  void fields(Fields& fields);
};

/// The algorithm. The report's hypergradient and loss are h(x_t, y_t; xi_t) and F there. Calls of T
/// iterations: 2T - 1 each of lower_gradient, upper_gradient and cross_vjp, and (2T-1) Q hvp. Samples an
/// iteration: one upper batch and 2 + Q lower batches (2 for a data-free lower Hessian). Memory: d_x, d_y and
/// the previous x and y.
class Mrbo : public SolverWith<MrboOptions> {
 public:
  using SolverWith::SolverWith;

  std::string name() const override { return "mrbo"; }
  void start(Oracles& oracles, int64_t max_steps) override;
  StepReport step(Oracles& oracles) override { return storm_.step(oracles); }
  void state(State& state) override { storm_.state(state); }
  nlohmann::ordered_json chosen() const override { return storm_.chosen(); }

 private:
  Storm storm_;
};

SolverEntry mrbo_entry();

}  // namespace bilevel
