// Counting oracle calls by kind, and by what they were for.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>

#include "bilevel/core/state.h"

namespace bilevel {

/// Oracle calls by kind. One call is one stochastic derivative of one batch, whatever number of passes it
/// shared.
struct OracleCounts {
  int64_t lower_gradient = 0;        ///< grad_y G
  int64_t lower_joint_gradient = 0;  ///< grad_x G and grad_y G together
  int64_t upper_gradient = 0;        ///< grad_x F and grad_y F, on one batch or each on a batch of its own
  int64_t hvp = 0;                   ///< (d2G/dy2) v
  int64_t cross_vjp = 0;             ///< (d2G/dxdy) v
  int64_t upper_hvp = 0;             ///< (d2F/dy2) v
  int64_t upper_cross_vjp = 0;       ///< (d2F/dxdy) v
  int64_t upper_samples = 0;         ///< rows drawn for F
  int64_t lower_samples = 0;         ///< rows drawn for G

  bool operator==(const OracleCounts&) const = default;
  OracleCounts& operator+=(const OracleCounts& other);
  OracleCounts& operator-=(const OracleCounts& other);
  /// All of the seven kinds, without the samples.
  int64_t calls() const;
  void state(State& state);
  /// The seven kinds, without the samples.
  nlohmann::ordered_json to_json() const;
  /// {"upper", "lower"}: the rows drawn.
  nlohmann::ordered_json samples() const { return {{"upper", upper_samples}, {"lower", lower_samples}}; }
};

/// `lower_gradients`, and `estimates` of the implicit hypergradient that take `products` Hessian-vector products in all.
inline OracleCounts implicit_calls(int64_t lower_gradients, int64_t estimates, int64_t products) {
  return {.lower_gradient = lower_gradients,
          .upper_gradient = estimates,
          .hvp = products,
          .cross_vjp = estimates};
}

/// What a call was made for.
enum class Purpose { steps, warm_start, automatic, evaluation };

/// Counts apart for the steps, the warm start, the automatic step sizes and evaluation.
struct OracleLedger {
  OracleCounts steps, warm_start, automatic, evaluation;

  OracleCounts& of(Purpose purpose);
  void state(State& state);
  nlohmann::ordered_json to_json() const;
  /// The same without the steps.
  nlohmann::ordered_json apart() const;
};

}  // namespace bilevel
