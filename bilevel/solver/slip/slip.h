// SLIP: one normalized momentum step on x, one SGD step on y and one on z, all at once (Gong, Hao and Liu,
// ICML 2024).
//
// After T0 steps on y alone at x_0, with z_0 = 0 and m_0 = 0, iteration t = 0, 1, ... reads x_t, y_t, z_t
// only:
//   y_{t+1} = y_t - eta_y grad_y G(x_t, y_t; zeta_t)
//   z_{t+1} = z_t - eta_z (d2G(x_t, y_t; zeta'_t)/dy2 z_t - grad_y F(x_t, y_t; xi'_t))
//   m_{t+1} = (1-theta) m_t + theta (grad_x F(x_t, y_t; xi_t) - d2G(x_t, y_t; zeta''_t)/dxdy z_t)
//   x_{t+1} = x_t - eta_x m_{t+1} / ||m_{t+1}||         one norm over all of x; no step where m = 0
//
// Differs from the paper:
// - `order = gauss_seidel` (z and x read y_{t+1}), `samples = shared` and the schedules are variants; the
//   defaults are the paper's form. With shared samples the noise of y and z is no longer independent of that of x.
#pragma once

#include "bilevel/solver/stepped_solver.h"

namespace bilevel {

struct SLIPOptions {
  double upper_step_size = 0.05;   ///< eta_x: the length of every step on x
  StepSize lower_step_size = {};   ///< eta_y; auto: 1/(2l), l the largest curvature of g in y at the start
  StepSize linear_step_size = {};  ///< eta_z; auto: 1/(2l)
  int64_t warm_start_steps = 3;    ///< T0
  double momentum_weight = 0.1;    ///< theta, weight of the new hypergradient
  Order order = Order::simultaneous;
  Samples samples = Samples::independent;
  std::string schedule = "constant";     ///< course of the step sizes: see Course; paper: constant
  std::string lower_schedule = "same";   ///< course of eta_y
  std::string linear_schedule = "same";  ///< course of eta_z

  void fields(Fields& fields);
};

/// The algorithm. Calls a step: 1 lower_gradient, 1 upper_gradient, 1 hvp, 1 cross_vjp. Samples a step: two
/// upper batches and three lower ones (two where the lower Hessian needs no data); shared: one of each.
/// Memory: m of the size of x, z of the size of y.
class SLIP : public SteppedSolver<SLIPOptions> {
 public:
  using SteppedSolver::SteppedSolver;

  std::string name() const override { return "slip"; }
  void warm_start(Oracles& oracles) override;

 private:
  void begin(Oracles& oracles) override;
  StepReport iterate(Oracles& oracles) override;
  void variables(State& state) override;
  torch::Tensor z_, m_;
};

}  // namespace bilevel
