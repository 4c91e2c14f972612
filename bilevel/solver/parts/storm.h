// The recursion of SUSTAIN and MRBO: STORM on both levels, both moving from (x_t, y_t).
#pragma once

#include "bilevel/solver/parts/two_point.h"
#include "bilevel/solver/stepped_solver.h"

namespace bilevel {

/// What an estimate of the hypergradient takes of the Neumann series: the sum, or one random summand for all.
enum class NeumannSum { sum, one_summand };

template <NeumannSum series>
struct StormOptions {
  double upper_step_size = 1e-2;                                ///< eta_x
  StepSize lower_step_size = {};                                ///< eta_y; auto: 1/(2l)
  StepSize neumann_step_size = {};                              ///< eta_N; auto: 1/l
  int64_t neumann_terms = series == NeumannSum::sum ? 11 : 10;  ///< summands; the sum has one product less
  double momentum_weight = 0.1;                                 ///< theta_x
  double lower_momentum_weight = 0.1;                           ///< theta_y
  std::string schedule = "constant";  ///< course of eta_x and, unless it has its own, of eta_y
  std::string lower_schedule = "same";

  void fields(Fields& fields);
};

/// Iteration t = 0, 1, ... reads x_t and y_t only, each level with a sample for both of its points:
///   d_y = grad_y G(x_t, y_t; zeta_t) + (1-theta_y,t) (d_y - grad_y G(x_{t-1}, y_{t-1}; zeta_t))
///   d_x = h(x_t, y_t; xi_t)          + (1-theta_x,t) (d_x - h(x_{t-1}, y_{t-1}; xi_t))
///   y_{t+1} = y_t - eta_y,t d_y,     x_{t+1} = x_t - eta_x,t d_x
/// At t = 0 both are the plain estimates. Under the course `paper` of a level its step size falls as
/// (t+1)^(-1/3) and its weight as (t+1)^(-2/3), the square; under every other course the weight is constant.
template <NeumannSum series>
class Storm : public SteppedSolver<StormOptions<series>> {
 public:
  using SteppedSolver<StormOptions<series>>::SteppedSolver;

  /// Calls of `steps` steps: the first evaluates one point, every other two; of a random summand the expected products.
  static OracleCounts calls(const StormOptions<series>& options, int64_t steps);

 private:
  StepSizeOptions step_sizes() const override;
  void begin(Oracles& oracles) override;
  StepReport iterate(Oracles& oracles) override;
  void variables(State& state) override;

  using SteppedSolver<StormOptions<series>>::options_, SteppedSolver<StormOptions<series>>::steps_,
      SteppedSolver<StormOptions<series>>::k_;
  Course upper_weight_, lower_weight_;  // factors on the two weights
  NeumannEstimator estimator_;
  RecursiveMomentum upper_, lower_;  // d_x, d_y
  Point before_;                     // (x_{t-1}, y_{t-1})
  int64_t length_ = 0;               // of the run
};

}  // namespace bilevel
