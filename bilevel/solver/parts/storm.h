// The recursion of SUSTAIN and MRBO: STORM on both levels, both moving from (x_t, y_t).
#pragma once

#include "bilevel/solver/parts/step_sizes.h"
#include "bilevel/solver/parts/two_point.h"
#include "bilevel/solver/solver.h"

namespace bilevel {

struct StormOptions {
  StepSizeOptions step_sizes;
  double momentum_weight = 0.1;        ///< theta_x
  double lower_momentum_weight = 0.1;  ///< theta_y
  int64_t summands = 10;               ///< of the Neumann series
  bool random_truncation = true;       ///< false: the full sum
};

/// Iteration t = 0, 1, ... reads x_t and y_t only, each level with a sample for both of its points:
///   d_y = grad_y G(x_t, y_t; zeta_t) + (1-theta_y,t) (d_y - grad_y G(x_{t-1}, y_{t-1}; zeta_t))
///   d_x = h(x_t, y_t; xi_t)          + (1-theta_x,t) (d_x - h(x_{t-1}, y_{t-1}; xi_t))
///   y_{t+1} = y_t - eta_y,t d_y,     x_{t+1} = x_t - eta_x,t d_x
/// At t = 0 both are the plain estimates. Under the course `paper` of a level its step size falls as
/// (t+1)^(-1/3) and its weight as (t+1)^(-2/3), the square; under every other course the weight is constant.
class Storm {
 public:
  Storm() = default;
  Storm(Oracles& oracles, const StormOptions& options, int64_t max_steps);

  StepReport step(Oracles& oracles);

  nlohmann::ordered_json chosen() const { return step_sizes_.chosen(); }
  void state(State& state);

 private:
  StepSizes step_sizes_;
  Course upper_weight_, lower_weight_;  // factors on the two weights
  double theta_x_ = 0, theta_y_ = 0;
  NeumannEstimator estimator_;
  RecursiveMomentum upper_, lower_;  // d_x, d_y
  Point before_;                     // (x_{t-1}, y_{t-1})
  int64_t k_ = 0, steps_ = 0;        // iterations done; length of the run
};

/// The fields of the two weights, for option structs that hold them.
template <typename Options>
void storm_weight_fields(Fields& f, Options& o) {
  momentum_weight_field(f, o.momentum_weight,
                        "weight of the new hypergradient in the recursive momentum (theta_x)");
  f.number("lower_momentum_weight", o.lower_momentum_weight, kWeight,
           "weight of the new lower gradient in the recursive momentum (theta_y)")
      .search(0.01, 1);
}

}  // namespace bilevel
