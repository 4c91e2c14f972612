// AccBO: normalized recursive momentum on x, accelerated steps with averaging on y (NeurIPS 2024,
// options I and II).
//
// After T0 accelerated steps on y alone at x_0, with yhat_0 = y_0, iteration t = 0, 1, ... reads x_t, y_t and
// yhat_t only:
//   m_0     = h(x_0, yhat_0; xi_0)
//   m_t     = h(x_t, yhat_t; xi_t) + (1-theta) (m_{t-1} - h(x_{t-1}, yhat_{t-1}; xi_t))   the same xi_t twice
//   y:        w = y + gamma (y - y_before);  y <- w - eta_y grad_y G(x_t, w; zeta)
//             option I: one such step; option II: N of them when t is a multiple of I, and none otherwise
//   yhat_{t+1} = (1-tau) yhat_t + tau y_{t+1}
//   x_{t+1} = x_t - eta_x m_t / ||m_t||                                               one norm over all of x
// where h is the hypergradient estimate with a Neumann series of Q summands, xi_t everything random in it.
//
// Differs from the paper:
// - The Neumann sum is nested (see adambo.h).
// - A zero m_t leaves x where it is.
// - In option II the momentum of y is carried from one group of steps to the next.
// Differs from the authors' program, which reuses the stored h(x_{t-1}, yhat_{t-1}; xi_{t-1}) and so has m_t
// = h_t, and which normalizes every parameter tensor by itself.
#pragma once

#include "bilevel/solver/parts/averaged_lower.h"
#include "bilevel/solver/parts/two_point.h"
#include "bilevel/solver/stepped_solver.h"

namespace bilevel {

struct AccBOOptions {
  double upper_step_size = 5e-3;                ///< eta_x, the length of a step on x
  StepSize lower_step_size = {};                ///< eta_y; auto: 1/(2l)
  StepSize neumann_step_size = {};              ///< eta_N; auto: 1/l
  int64_t neumann_terms = 10;                   ///< Q
  int64_t warm_start_steps = 3;                 ///< T0
  double momentum_weight = 0.1;                 ///< theta
  AveragedVariant option = AveragedVariant::I;  ///< I | II
  int64_t period = 2;                           ///< I, option II only
  int64_t lower_steps = 3;                      ///< N, option II only
  double nesterov_momentum = 0.5;               ///< gamma; in theory (1-r)/(1+r), r = sqrt(mu eta_y)
  double averaging_weight = 0.5;                ///< tau
  std::string schedule = "constant";            ///< course of eta_x and, unless it has its own, of eta_y
  std::string lower_schedule = "same";

  void fields(Fields& fields);
};

/// The algorithm. y is the iterate y_t: what a run ends with and what metrics see; yhat belongs to the state.
/// The report's hypergradient and loss are h(x_t, yhat_t; xi_t) and F there. Calls of T iterations: 2T - 1
/// upper_gradient, (2T-1)(Q-1) hvp, 2T - 1 cross_vjp, since the first has one point only; lower_gradient: T
/// in option I, N ceil(T/I) in option II. Samples an iteration: one upper batch, one lower batch for the
/// cross product, Q-1 for the products (none for a data-free lower Hessian), one for each step on y. Both
/// points are evaluated in turn, so that no two graphs are held. Memory: m, the previous x and yhat, yhat and
/// y_before.
class AccBO : public SteppedSolver<AccBOOptions> {
 public:
  using SteppedSolver::SteppedSolver;

  std::string name() const override { return "accbo"; }
  void warm_start(Oracles& oracles) override;

 private:
  void begin(Oracles& oracles) override;
  StepReport iterate(Oracles& oracles) override;
  void variables(State& state) override;
  AveragedLower lower_;  // y_before, yhat
  NeumannEstimator estimator_;
  RecursiveMomentum momentum_;  // m
  Point before_;                // (x_{t-1}, yhat_{t-1})
};

}  // namespace bilevel
