// A linear loss of outputs that x sharpens or flattens.
#pragma once

#include <functional>
#include <memory>

#include "bilevel/glm/linear_loss.h"
#include "bilevel/problem/derivatives.h"

namespace bilevel {

/// L(x, y) = `linear`(x, exp(x_u) y), u = `unit`.
struct ScaledLoss {
  LinearLoss linear;
  int64_t unit = 0;

  /// With its graph.
  torch::Tensor value(const Batch& batch, const torch::Tensor& x, const torch::Tensor& y) const {
    return linear.value(batch, x, x[unit].exp() * y);
  }
};

/// The derivatives for `Level::derivatives`. Cost: that of the linear loss; in x twice that, and for products three times.
std::function<std::unique_ptr<Derivatives>()> derivatives_of(const ScaledLoss& loss);

}  // namespace bilevel
