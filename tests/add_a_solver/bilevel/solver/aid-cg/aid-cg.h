// AID-CG: gradient steps on y, conjugate gradients for z, a gradient step on x (AID-BiO of arXiv 2010.07962,
// Algorithm 1).
//
// Iteration k = 0, 1, ...; y goes on from the last iteration:
//   y <- y - eta_y grad_y G(x_k, y; zeta_kn)                              N = lower_steps times
//   z_k: M = linear_steps iterations of CG on (d2G(zeta_k)/dy2) z = grad_y F(x_k, y; xi_k)
//   x_{k+1} = Proj(x_k - eta_x (grad_x F(x_k, y; xi_k) - (d2G(zeta_k)/dxdy) z_k))
//
// Differs from the paper:
// - The paper is deterministic. Here every step on y has a batch of its own, and CG, which needs one matrix,
//   has the Hessian of one batch: where batches are random, the mean of z_k is not H^-1 grad_y F.
// - CG starts at 0, not at the last z, and ends early at a relative residual of 1e-10.
// - The schedules are variants; the paper's step sizes are constant.
#pragma once

#include "bilevel/solver/stepped_solver.h"

namespace bilevel {

struct AidCgOptions {
  double upper_step_size = 1e-2;      ///< eta_x
  StepSize lower_step_size = {};      ///< eta_y; auto: 1/(2l), l the largest curvature of g in y at the start
  int64_t lower_steps = 10;           ///< N, steps on y an iteration
  int64_t linear_steps = 20;          ///< M, iterations of CG at most
  std::string schedule = "constant";  ///< course of eta_x and, unless it has its own, of eta_y: see Course
  std::string lower_schedule = "same";  ///< course of eta_y

  void fields(Fields& fields);
};

/// The algorithm. Calls a step: N lower_gradient, 1 upper_gradient, at most M hvp, 1 cross_vjp. Samples a
/// step: one upper batch and N + 1 lower batches, all independent. A direction of negative curvature ends the
/// run with the reason `linear_solve_failed`.
class AidCg : public SteppedSolver<AidCgOptions> {
 public:
  using SteppedSolver::SteppedSolver;

  std::string name() const override { return "aid-cg"; }

 private:
  StepReport iterate(Oracles& oracles) override;
};

}  // namespace bilevel
