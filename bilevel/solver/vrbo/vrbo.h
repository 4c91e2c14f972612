// VRBO: SPIDER on both levels in a double loop (Yang, Ji and Liang, NeurIPS 2021).
//
// Iteration k = 0, 1, ...:
//   if k is a multiple of q:  d_y, d_x = averages of S1 independent grad_y G(x_k, y_k; zeta), h(x_k, y_k; xi)
//   x_{k+1} = x_k - eta_x d_x
//   for t = 0, ..., m-1, with y_0 = y_k and fresh samples zeta_t, xi_t:
//     d_y <- d_y + grad_y G(x_{k+1}, y_t; zeta_t) - grad_y G(old; zeta_t)
//     d_x <- d_x + h(x_{k+1}, y_t; xi_t) - h(old; xi_t)
//     y_{t+1} = y_t - eta_y d_y
//   y_{k+1} = y_m
// where old is (x_k, y_k) for t = 0 and (x_{k+1}, y_{t-1}) afterwards, and h has a Neumann sum of Q + 1
// summands, q = 0, ..., Q, with Q products: z = eta_N sum_{q<=Q} prod_{j<=q} (I - eta_N d2G(zeta_j)/dy2) grad_y F.
//
// With old = (x_k, y_k), the change of y in the last inner step of iteration k-1 enters neither direction
// until the next refresh: without noise d_y is then no longer the gradient. `old_point = last` takes for t = 0
// the point where d_y and d_x were updated last (right after a refresh this is (x_k, y_k) too), so that the
// differences telescope.
//
// Differs from the paper:
// - The large batch of a refresh is `refresh_batches` batches of the ordinary size, each with an estimate of
//   its own.
// - Every factor has a batch of the ordinary size, and the Neumann sum is nested (see adambo.h).
#pragma once

#include "bilevel/solver/parts/two_point.h"
#include "bilevel/solver/stepped_solver.h"

namespace bilevel {

/// The old point of an iteration's first difference: the iteration's start, or where the directions were updated last.
enum class OldPoint { iteration_start, last_update };
template <>
struct NamesOf<OldPoint> {
  static constexpr const char* value[] = {"start", "last"};
};

struct VrboOptions {
  double upper_step_size = 1e-2;    ///< eta_x
  StepSize lower_step_size = {};    ///< eta_y; auto: 1/(2l)
  StepSize neumann_step_size = {};  ///< eta_N; auto: 1/l
  int64_t neumann_terms = 11;       ///< Q + 1, the summands; Q Hessian-vector products
  int64_t period = 2;               ///< q
  int64_t lower_steps = 2;          ///< m
  int64_t refresh_batches = 8;      ///< |S1| in batches
  OldPoint old_point = OldPoint::iteration_start;
  std::string schedule = "constant";  ///< course of eta_x and, unless it has its own, of eta_y
  std::string lower_schedule = "same";

  void fields(Fields& fields);
};

/// The algorithm. The report's hypergradient is d_x after the last inner step, the estimate at (x_{k+1},
/// y_{m-1}); its loss is F there. Calls of K iterations with R = ceil(K/q) refreshes and E = R S1 + 2 m K
/// evaluations: E each of lower_gradient, upper_gradient and cross_vjp, and E Q hvp. Samples: R S1 + m K
/// times one upper batch and 2 + Q lower batches (2 for a data-free lower Hessian). Memory: d_x, d_y and one
/// earlier x and y.
class Vrbo : public SteppedSolver<VrboOptions> {
 public:
  using SteppedSolver::SteppedSolver;

  std::string name() const override { return "vrbo"; }

 private:
  void begin(Oracles& oracles) override;
  StepReport iterate(Oracles& oracles) override;
  void variables(State& state) override;
  void refresh(Oracles& oracles);
  /// Adds both differences between the present point and `old`; returns the estimate at the present point.
  Hypergradient update(Oracles& oracles, const Point& old);

  NeumannEstimator estimator_;
  torch::Tensor d_x_, d_y_;
  Point last_;  // where d_x and d_y were updated last
};

}  // namespace bilevel
