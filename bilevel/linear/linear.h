// Solving H z = b from products H v alone.
#pragma once

#include <torch/types.h>

#include <functional>
#include <limits>
#include <string>

namespace bilevel {

/// Unit of rounding of a floating-point type.
inline double unit_round_off(torch::ScalarType type) {
  return type == torch::kFloat64 ? std::numeric_limits<double>::epsilon()
                                 : std::numeric_limits<float>::epsilon();
}

/// v -> H v for flat v. A stochastic operator may use a fresh sample at every call.
using LinearOperator = std::function<torch::Tensor(const torch::Tensor& v)>;

/// An approximate solution of H z = b. A number that is not finite stays what it is: no method turns it into
/// zero.
struct LinearSolution {
  torch::Tensor z;         ///< flat, as b
  torch::Tensor residual;  ///< ||b - H z|| as the method knows it (0-dim tensor; see the method), without
                           ///< extra products
  int64_t products = 0;    ///< products with H that were spent
  bool failed = false;     ///< true: z must not be used
  std::string message;     ///< why it failed, or a remark
  double damping = 0;      ///< d, when H + d I was solved in place of H (see policy.h)
};

}  // namespace bilevel
