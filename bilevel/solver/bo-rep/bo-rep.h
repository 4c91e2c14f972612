// BO-REP: normalized momentum on x, SGD on the linear system, and a lower variable that is refined once and
// then updated periodically (Hao, Gong and Liu, ICLR 2024).
//
// Initialization refinement, at fixed x_0, stages s = 0, 1, ..., S-1, each from the average of the one
// before:
//   n_s = 2^s n_0 steps   y <- P_s(y - 2^(-s) eta_y grad_y G(x_0, y; pi)),
//   P_s the projection on the ball of radius 2^(-s/2) R_0 about the stage's start; the average of its n_s
//   iterates is its result. The last one is y_0; z_0 = 0, m_0 = 0.
// Iteration k = 0, 1, ...:
//   y_k     = y_{k-1}, except where k > 0 is a multiple of I: the average of the N iterates of
//             y <- P(y - eta_y grad_y G(x_k, y; zeta)) from y_{k-1}, P the projection on the ball of radius R
//             about y_{k-1}
//   z_{k+1} = z_k - eta_z (d2G(x_k, y_k; zeta'_k)/dy2 z_k - grad_y F(x_k, y_k; xi'_k))
//   m_{k+1} = (1-theta) m_k + theta (grad_x F(x_k, y_k; xi_k) - d2G(x_k, y_k; zeta''_k)/dxdy z_k)
//   x_{k+1} = x_k - eta_x m_{k+1} / ||m_{k+1}||         one norm over all of x; no step where m = 0
//
// Differs from the paper:
// - The paper's constants of the stages depend on quantities that nobody knows. Here the step halves and the
//   length doubles from stage to stage, as in the paper, and the radius shrinks by the root of 2, because halving
//   the variance of a stage's result halves the square of its distance.
// - Both radii are 0 by default, which means no ball.
// - `samples = shared` and the schedules are variants.
#pragma once

#include "bilevel/solver/stepped_solver.h"

namespace bilevel {

struct BOREPOptions {
  double upper_step_size = 0.05;   ///< eta_x: the length of every step on x
  StepSize lower_step_size = {};   ///< eta_y; auto: 1/(2l), l the largest curvature of g in y at the start
  StepSize linear_step_size = {};  ///< eta_z; auto: 1/(2l)
  int64_t lower_steps = 3;         ///< N: steps of a lower update
  int64_t period = 2;              ///< I: iterations from one lower update to the next
  double ball_radius = 0;          ///< R of a lower update; 0: no ball
  int64_t refinement_stages = 3;   ///< S; 0: no refinement
  int64_t refinement_steps = 3;    ///< n_0, steps of the first stage
  double refinement_radius = 0;    ///< R_0, radius of the first stage's ball; 0: no ball
  double momentum_weight = 0.1;    ///< theta, weight of the new hypergradient
  Samples samples = Samples::independent;
  std::string schedule = "constant";     ///< course of the step sizes: see Course; paper: constant
  std::string lower_schedule = "same";   ///< course of eta_y in the iterations
  std::string linear_schedule = "same";  ///< course of eta_z

  void fields(Fields& fields);
};

/// The algorithm. Calls of K steps: N floor((K-1)/I) lower_gradient, K upper_gradient, K hvp, K cross_vjp; of
/// the refinement, counted as warm start: (2^S - 1) n_0 lower_gradient. Every lower gradient has a batch of
/// its own; the rest of a step takes two upper and two lower batches (one where the lower Hessian needs no
/// data); shared: one of each. Memory: m of the size of x, z and an average of the size of y.
class BOREP : public SteppedSolver<BOREPOptions> {
 public:
  using SteppedSolver::SteppedSolver;

  std::string name() const override { return "bo-rep"; }
  void warm_start(Oracles& oracles) override;

 private:
  void begin(Oracles& oracles) override;
  StepReport iterate(Oracles& oracles) override;
  void variables(State& state) override;
  torch::Tensor z_, m_;
};

}  // namespace bilevel
