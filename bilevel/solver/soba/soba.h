// SOBA: SGD on x, y and z from one lower and one upper batch (Dagreou, Ablin, Vaiter and Moreau,
// NeurIPS 2022).
//
// With z_0 = 0, iteration k = 0, 1, ... reads x_k, y_k, z_k only, with one lower sample zeta_k and one upper
// sample xi_k:
//   y_{k+1} = y_k - eta_y grad_y G(x_k, y_k; zeta_k)
//   z_{k+1} = z_k - eta_z (d2G(x_k, y_k; zeta_k)/dy2 z_k - grad_y F(x_k, y_k; xi_k))
//   x_{k+1} = x_k - eta_x (grad_x F(x_k, y_k; xi_k) - d2G(x_k, y_k; zeta_k)/dxdy z_k)
//
// Differs from the paper:
// - The paper writes v = -z, and one step size for y and v: here eta_z has an option of its own, and `auto`
//   makes the two equal.
// - The step sizes are constant by default; `schedule = paper` makes all three fall with (k+1)^(-1/2).
// - `order = gauss_seidel` (z and x read y_{k+1}) and `samples = independent` are variants.
#pragma once

#include "bilevel/solver/stepped_solver.h"

namespace bilevel {

struct SOBAOptions {
  double upper_step_size = 5e-4;   ///< eta_x; see soba.md
  StepSize lower_step_size = {};   ///< eta_y; auto: 1/(2l), l the largest curvature of g in y at the start
  StepSize linear_step_size = {};  ///< eta_z; auto: 1/(2l)
  Order order = Order::simultaneous;
  Samples samples = Samples::shared;
  std::string schedule = "constant";     ///< course of the step sizes: see Course; paper: (k+1)^(-1/2)
  std::string lower_schedule = "same";   ///< course of eta_y
  std::string linear_schedule = "same";  ///< course of eta_z

  void fields(Fields& fields);
};

/// The algorithm. Calls a step: 1 lower_gradient, 1 upper_gradient, 1 hvp, 1 cross_vjp. Samples a step: one
/// upper and one lower batch, each with one forward and one gradient with graph; one backward pass then gives
/// both directions, of z and of x (independent: see SLIP). Memory: z of the size of y.
class SOBA : public SteppedSolver<SOBAOptions> {
 public:
  using SteppedSolver::SteppedSolver;

  std::string name() const override { return "soba"; }

 private:
  StepSizeOptions step_sizes() const override {
    return step_size_options(options_, {.upper = 0.5, .lower = 0.5, .linear = 0.5});
  }
  void begin(Oracles& oracles) override;
  StepReport iterate(Oracles& oracles) override;
  void variables(State& state) override;
  torch::Tensor z_;
};

}  // namespace bilevel
