// AmIGO: several SGD steps on y, several SGD steps on the linear system with grad_y F held fixed, one step on
// x (arXiv 2111.14580, Algorithm 1).
//
// Iteration k = 0, 1, ...; y and z go on from the last iteration, z_{0} = 0:
//   N = lower_steps times:    y <- y - eta_y grad_y G(x_k, y; zeta_kn)                           gives y_{k+1}
//   M = linear_steps times:   z <- z - eta_z ((d2G(zeta'_kn)/dy2) z - grad_y F(xi_k))            gives z_{k+1}
//   x_{k+1} = x_k - eta_x (grad_x F(xi_k) - (d2G(zeta''_k)/dxdy) z_{k+1})
// with the derivatives for z and x at (x_k, y_{k+1}).
// grad F is computed once an iteration; every other derivative has a lower batch of its own.
//
// Differs from the paper:
// - The paper's sign of z is the opposite one (H z = -grad_y F).
// - The schedules are variants; the paper's step sizes are constant (which is what `paper` stands for).
#pragma once

#include "bilevel/solver/parts/lower_rule.h"
#include "bilevel/solver/stepped_solver.h"

namespace bilevel {

struct AmIGOOptions {
  double upper_step_size = 1e-2;      ///< eta_x
  StepSize lower_step_size = {};      ///< eta_y; auto: 1/(2l), l the largest curvature of g in y at the start
  StepSize linear_step_size = {};     ///< eta_z; auto: 1/(2l)
  int64_t lower_steps = 10;           ///< N, steps on y an iteration
  int64_t linear_steps = 10;          ///< M, steps on z an iteration
  std::string schedule = "constant";  ///< course of eta_x and, unless they have their own, of the others
  std::string lower_schedule = "same";   ///< course of eta_y
  std::string linear_schedule = "same";  ///< course of eta_z

  void fields(Fields& fields);
};

/// The algorithm. Calls a step: N lower_gradient, 1 upper_gradient, M hvp, 1 cross_vjp. Samples a step: one
/// upper batch and N + M + 1 lower batches (N + 1 where the lower Hessian needs no data), all independent.
/// Memory beside the variables: z, of the size of y, and the graph of one upper and one lower batch. The
/// reported residual of the linear system is that before the last step on z.
class AmIGO : public SteppedSolver<AmIGOOptions> {
 public:
  using SteppedSolver::SteppedSolver;

  std::string name() const override { return "amigo"; }

  /// z, flat [dim y].
  const torch::Tensor& z() const { return z_; }

 private:
  void begin(Oracles& oracles) override;
  StepReport iterate(Oracles& oracles) override;
  void variables(State& state) override;
  LowerRule lower_rule_;
  torch::Tensor z_;
};

}  // namespace bilevel
