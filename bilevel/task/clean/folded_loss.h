// One linear loss for each of several parts of y.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "bilevel/glm/linear_loss.h"
#include "bilevel/problem/derivatives.h"

namespace bilevel {

/// L(x, y) = sum_k L_k(x, beta y_k) + precision/2 |x - centre|^2, every L_k on the same batch, y = (y_1, ..., y_K) of equal lengths; beta
/// is 1, or exp(x_u) with u = `scale` >= 0.
struct FoldedLoss {
  std::vector<LinearLoss> parts;
  int64_t scale = -1;
  torch::Tensor centre = {};  ///< of x
  double precision = 0;

  /// With its graph. @param y K tensors
  torch::Tensor value(const Batch& batch, const torch::Tensor& x, const std::vector<torch::Tensor>& y) const;
};

/// The derivatives for `Level::derivatives`: see those of a linear loss, whose cost each part has.
std::function<std::unique_ptr<Derivatives>()> derivatives_of(const FoldedLoss& loss);

}  // namespace bilevel
