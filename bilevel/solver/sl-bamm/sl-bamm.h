// sl-BAMM: the single-loop averaged method of multipliers, for lower levels that are merely convex (Liu, Liu,
// Yao, Zeng and Zhang, ICML 2023).
//
// The lower objective is aggregated with the upper one: phi_mu = mu f + (1 - mu) g, with mu_k falling to 0.
// Iteration k = 0, 1, ... reads x_k, y_k, z_k only, with mu = mu_k and z_0 = 0:
//   y_{k+1} = y_k - beta_k grad_y phi_mu
//   z_{k+1} = z_k - eta_k (d2phi_mu/dy2 z_k - grad_y f)
//   x_{k+1} = P(x_k - alpha_k (grad_x f - d2phi_mu/dxdy z_k))      P: projection on the problem's set, if any
// and with the default schedule, tau = 1/40:
//   mu_k    = aggregation_weight (k+1)^(-1/10)                      0.9
//   beta_k  = lower_step_size                                       0.1
//   eta_k   = linear_step_size (k+1)^(-tau/2)                       0.1
//   alpha_k = upper_step_size mu_k^3 (k+1)^(-3 tau/2)               0.1
// With aggregation_weight = 0 (g strongly convex): phi = g, tau = 1/1000, and
// alpha_k = upper_step_size (k+1)^(-tau).
//
// Differs from the paper:
// - The method is deterministic; here a step takes one upper and one lower batch, which may be all rows.
// - `schedule` other than paper holds for the step sizes and leaves mu_k^3 out of alpha_k; mu_k has a course
//   of its own, `aggregation_schedule`. `order = gauss_seidel` (z and x read y_{k+1}) is a variant.
#pragma once

#include "bilevel/solver/stepped_solver.h"

namespace bilevel {

struct SLBAMMOptions {
  double upper_step_size = 0.1;     ///< alpha, before its course
  StepSize lower_step_size = 0.1;   ///< beta; auto: 1/(2l), l the largest curvature of g in y at the start
  StepSize linear_step_size = 0.1;  ///< eta; auto: 1/(2l)
  double aggregation_weight = 0.9;  ///< mu, before its course; 0: no aggregation
  Order order = Order::simultaneous;
  std::string schedule = "paper";              ///< course of the step sizes: see above and Course
  std::string lower_schedule = "same";         ///< course of beta
  std::string linear_schedule = "same";        ///< course of eta
  std::string aggregation_schedule = "paper";  ///< course of mu; paper: (k+1)^(-1/10)

  void fields(Fields& fields);
};

/// The algorithm. Calls a step: 1 lower_gradient, 1 upper_gradient, 1 hvp, 1 cross_vjp, and 1 upper_hvp and 1
/// upper_cross_vjp for f's share of phi (none with aggregation_weight 0); with order = gauss_seidel one
/// upper_gradient more. Passes a step: a forward pass and a gradient with graph in either batch, and one
/// backward pass for both directions. Memory: z of the size of y.
class SLBAMM : public SteppedSolver<SLBAMMOptions> {
 public:
  using SteppedSolver::SteppedSolver;

  std::string name() const override { return "sl-bamm"; }

 private:
  StepSizeOptions step_sizes() const override;
  void begin(Oracles& oracles) override;
  StepReport iterate(Oracles& oracles) override;
  void variables(State& state) override;
  Course aggregation_course_;
  int64_t total_steps_ = 0;
  torch::Tensor z_;
};

}  // namespace bilevel
