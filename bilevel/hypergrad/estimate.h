// What every estimator of the hypergradient returns.
#pragma once

#include <string>

#include "bilevel/oracle/oracles.h"

namespace bilevel {

/// An estimate of the hypergradient at the present (x, y) with what it cost and how far it may be trusted. It
/// is never silently zero: where there is no answer, `failed` is set and `value` is NaN.
struct Estimate {
  torch::Tensor value;     ///< flat [dim x]
  torch::Tensor residual;  ///< what is left of the equation that the method solves, as a norm in the unit of
                           ///< grad_y f, 0-dim: for the linear system ||b - H z||; see each method
  OracleCounts cost;       ///< oracle calls spent
  bool failed = false;     ///< true: there is no estimate
  std::string message;     ///< why it failed, or a warning or remark
};

/// Measures the oracle calls of an estimate and checks its numbers.
class EstimateScope {
 public:
  explicit EstimateScope(Oracles& oracles) : oracles_(oracles), before_(oracles.counts()) {}
  /// The estimate with its cost; one that failed or is not finite is marked and holds NaN.
  Estimate finish(torch::Tensor value, torch::Tensor residual, bool failed, std::string message) const;

 private:
  Oracles& oracles_;
  OracleCounts before_;
};

}  // namespace bilevel
