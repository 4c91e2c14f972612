// MA-SOBA: SOBA whose x follows a moving average of the hypergradients (Chen, Xiao and Balasubramanian,
// "Optimal algorithms for stochastic bilevel optimization under relaxed smoothness conditions").
//
// With z_0 = 0 and h_0 = 0, iteration k = 0, 1, ... reads x_k, y_k, z_k, h_k only:
//   y_{k+1} = y_k - eta_y grad_y G(x_k, y_k; zeta_k)
//   z_{k+1} = z_k - eta_z (d2G(x_k, y_k; zeta_k)/dy2 z_k - grad_y F(x_k, y_k; xi_k))
//   x_{k+1} = x_k - eta_x h_k                                  the OLD average
//   h_{k+1} = (1-theta) h_k + theta (grad_x F(x_k, y_k; xi_k) - d2G(x_k, y_k; zeta_k)/dxdy z_k)
//
// Differs from the paper:
// - `average = new` moves x by h_{k+1}; with theta = 1 that is SOBA.
// - `order = gauss_seidel` (z and h read y_{k+1}), `samples = independent` and the schedules are variants.
//   The default `shared` takes SOBA's pattern of one lower and one upper batch a step.
#pragma once

#include "bilevel/solver/stepped_solver.h"

namespace bilevel {

/// Which moving average x moves by: the one before this step's hypergradient or the one after.
enum class MovingAverage { before, after };
template <>
struct NamesOf<MovingAverage> {
  static constexpr const char* value[] = {"old", "new"};
};

struct MASOBAOptions {
  double upper_step_size = 5e-4;   ///< eta_x; see soba.md
  StepSize lower_step_size = {};   ///< eta_y; auto: 1/(2l), l the largest curvature of g in y at the start
  StepSize linear_step_size = {};  ///< eta_z; auto: 1/(2l)
  double momentum_weight = 0.1;    ///< theta, weight of the new hypergradient
  MovingAverage average = MovingAverage::before;
  Order order = Order::simultaneous;
  Samples samples = Samples::shared;
  std::string schedule = "constant";     ///< course of the step sizes: see Course; paper: constant
  std::string lower_schedule = "same";   ///< course of eta_y
  std::string linear_schedule = "same";  ///< course of eta_z

  void fields(Fields& fields);
};

/// The algorithm. Calls, samples and passes as SOBA. Memory: h of the size of x, z of the size of y.
class MASOBA : public SteppedSolver<MASOBAOptions> {
 public:
  using SteppedSolver::SteppedSolver;

  std::string name() const override { return "ma-soba"; }

 private:
  void begin(Oracles& oracles) override;
  StepReport iterate(Oracles& oracles) override;
  void variables(State& state) override;
  torch::Tensor z_, h_;
};

}  // namespace bilevel
