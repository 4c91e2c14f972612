// TTSA: two step sizes, one step on y, then one projected step on x (arXiv 2007.05170, Algorithm 1).
//
// Iteration k = 0, 1, ...:
//   y_{k+1} = y_k - beta_k grad_y G(x_k, y_k; zeta_k)
//   z_k     = Q eta_N prod_{j<=p} (I - eta_N d2G(zeta_kj)/dy2) grad_y F(xi_k)        at (x_k, y_{k+1}),
//             p uniform in {0, ..., Q-1}
//   x_{k+1} = Proj(x_k - alpha_k (grad_x F(xi_k) - (d2G(zeta_k0)/dxdy) z_k))         at (x_k, y_{k+1})
// One summand of the Neumann series times Q has the mean of the whole series of Q summands.
// alpha_k = eta_x (k+1)^(-3/5) and beta_k = eta_y (k+1)^(-2/5) with `schedule = paper`.
//
// Differs from the paper:
// - The step sizes are constant unless `schedule` says otherwise; `paper` gives the paper's exponents.
// - Where the problem has no `Level::project`, x is free.
#pragma once

#include "bilevel/solver/parts/neumann_estimator.h"
#include "bilevel/solver/stepped_solver.h"

namespace bilevel {

struct TTSAOptions {
  double upper_step_size = 1e-2;      ///< eta_x
  StepSize lower_step_size = {};      ///< eta_y; auto: 1/(2l), l the largest curvature of g in y at the start
  StepSize neumann_step_size = {};    ///< eta_N; auto: 1/l
  int64_t neumann_terms = 10;         ///< Q, the summands of the series that is truncated at random
  std::string schedule = "constant";  ///< course of eta_x and, unless it has its own, of eta_y: see Course
  std::string lower_schedule = "same";  ///< course of eta_y

  void fields(Fields& fields);
};

/// The algorithm. Calls a step: 1 lower_gradient, 1 upper_gradient, p hvp with the drawn p (documented:
/// the expected (Q-1)/2), 1 cross_vjp. Samples a step: one upper batch and 2 + p lower batches (2 where the lower Hessian
/// needs no data), all independent. p comes from the stream "truncation". Memory beside the variables: one
/// vector of the size of y, the graph of one upper and one lower batch.
class TTSA : public SteppedSolver<TTSAOptions> {
 public:
  using SteppedSolver::SteppedSolver;

  std::string name() const override { return "ttsa"; }

 private:
  StepSizeOptions step_sizes() const override {
    return step_size_options(options_, {.upper = 3.0 / 5, .lower = 2.0 / 5});
  }
  void begin(Oracles& oracles) override;
  StepReport iterate(Oracles& oracles) override;
  void variables(State& state) override;
  NeumannEstimator estimator_;
};

}  // namespace bilevel
