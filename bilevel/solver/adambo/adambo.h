// AdamBO: Adam on x, SGD on y, hypergradient by a Neumann series (arXiv 2503.03908, algorithm box).
//
// After T0 steps on y alone at x_1, iteration t = 1, 2, ... reads x_t and y_t only:
//   y_{t+1} = y_t - eta_y grad_y G(x_t, y_t; zeta_t)
//   z_t     = eta_N sum_{q<Q} prod_{j<=q} (I - eta_N d2G(zeta_tj)/dy2) grad_y F(x_t, y_t; xi_t)
//   g_t     = grad_x F(x_t, y_t; xi_t) - (d2G(zeta_t0)/dxdy) z_t
//   m_t     = (1-theta_m) m_{t-1} + theta_m g_t
//   v_t     = (1-theta_v) v_{t-1} + theta_v g_t*g_t
//   x_{t+1} = x_t - eta_x m_hat_t / (sqrt(v_hat_t) + lambda)      m_hat, v_hat bias-corrected
//
// Differs from the paper:
// - The Neumann sum is nested (its summands share the samples of the factors): the same expectation, Q-1 instead
//   of Q(Q-1)/2 Hessian-vector products, another variance.
// - `lower_rule`, `lower_steps`, `order = gauss_seidel`, `samples = shared` and the schedules offer variants; the
//   defaults are the paper's form. With shared samples the theory's decoupling of y's noise from x does not hold.
#pragma once

#include "bilevel/solver/parts/adam.h"
#include "bilevel/solver/parts/lower_rule.h"
#include "bilevel/solver/stepped_solver.h"

namespace bilevel {

struct AdamBOOptions {
  double upper_step_size = 1e-3;        ///< eta_x
  StepSize lower_step_size = {};        ///< eta_y; auto: 1/(2l), l the largest curvature of g in y at the
                                        ///< start; with lower_rule = adam 10 * upper_step_size
  StepSize neumann_step_size = {};      ///< eta_N; auto: 1/l
  int64_t neumann_terms = 10;           ///< Q
  int64_t warm_start_steps = 3;         ///< T0
  double momentum_weight = 0.1;         ///< theta_m
  double second_moment_weight = 0.001;  ///< theta_v
  double epsilon = 1e-8;                ///< lambda
  LowerStep lower_rule = LowerStep::sgd;
  int64_t lower_steps = 1;  ///< steps on y an iteration
  Order order = Order::simultaneous;
  Samples samples = Samples::independent;
  std::string schedule = "constant";    ///< course of eta_x and, unless it has its own, of eta_y: see Course
  std::string lower_schedule = "same";  ///< course of eta_y

  void fields(Fields& fields);
};

/// The algorithm. Calls a step, with N = lower_steps: N lower_gradient, 1 upper_gradient, Q-1 hvp, 1
/// cross_vjp. Samples a step: one upper batch and N + 1 + (Q-1) lower batches (none for the products of a
/// data-free lower Hessian); with `samples = shared`, one upper and one lower batch. Encoder passes, when y
/// is a head on an encoder in x and the lower Hessian needs no data: independent 3 forward (one of them
/// without graph) and 2 backward, shared 2 and 2; the two with a graph run as one over the joined batch.
class AdamBO : public SteppedSolver<AdamBOOptions> {
 public:
  using SteppedSolver::SteppedSolver;

  std::string name() const override { return "adambo"; }
  void warm_start(Oracles& oracles) override;

 private:
  StepSizeOptions step_sizes() const override;
  void begin(Oracles& oracles) override;
  StepReport iterate(Oracles& oracles) override;
  void variables(State& state) override;
  LowerRule lower_rule_;
  Adam adam_;
};

}  // namespace bilevel
