// StocBiO: several SGD steps on y, a Neumann hypergradient, one SGD step on x (arXiv 2010.07962, Algorithms 2
// and 3).
//
// Iteration k = 0, 1, ..., with y_{k,0} = y_{k-1,N}:
//   y_{k,n} = y_{k,n-1} - eta_y grad_y G(x_k, y_{k,n-1}; zeta_kn)                         n = 1, ..., N
//   z_k     = eta_N sum_{q<=Q} prod_{j<=q} (I - eta_N d2G(zeta_kj)/dy2) grad_y F(xi_k)    at (x_k, y_{k,N})
//   x_{k+1} = x_k - eta_x (grad_x F(xi_k) - (d2G(zeta_k0)/dxdy) z_k)                      at (x_k, y_{k,N})
// The sum has Q + 1 summands, q = 0, ..., Q, and shares the factors' samples between them, so it costs Q
// products.
//
// Differs from the paper:
// - Every factor of the Neumann series has a lower batch of the same size. The paper's batches shrink like
//   (1 - eta_N mu)^j with the order in which the factors are applied; that needs mu, and only the variance
//   differs.
// - The schedules are variants; the paper's step sizes are constant (which is what `paper` stands for).
#pragma once

#include "bilevel/solver/parts/lower_rule.h"
#include "bilevel/solver/parts/neumann_estimator.h"
#include "bilevel/solver/stepped_solver.h"

namespace bilevel {

struct StocBiOOptions {
  double upper_step_size = 1e-2;      ///< eta_x
  StepSize lower_step_size = {};      ///< eta_y; auto: 1/(2l), l the largest curvature of g in y at the start
  StepSize neumann_step_size = {};    ///< eta_N; auto: 1/l
  int64_t neumann_terms = 11;         ///< Q + 1, the summands; Q Hessian-vector products
  int64_t lower_steps = 10;           ///< N, steps on y an iteration
  std::string schedule = "constant";  ///< course of eta_x and, unless it has its own, of eta_y: see Course
  std::string lower_schedule = "same";  ///< course of eta_y

  void fields(Fields& fields);
};

/// The algorithm. Calls a step: N lower_gradient, 1 upper_gradient, Q hvp, 1 cross_vjp. Samples a step: one
/// upper batch and N + Q + 1 lower batches (N + 1 where the lower Hessian needs no data), all independent.
/// Memory beside the variables: one vector of the size of y, the graph of one upper and one lower batch.
class StocBiO : public SteppedSolver<StocBiOOptions> {
 public:
  using SteppedSolver::SteppedSolver;

  std::string name() const override { return "stocbio"; }

 private:
  void begin(Oracles& oracles) override;
  StepReport iterate(Oracles& oracles) override;
  void variables(State& state) override;
  LowerRule lower_rule_;
  NeumannEstimator estimator_;
};

}  // namespace bilevel
