// The AUC-margin loss of a linear scoring model, with its derivatives by hand.
#pragma once

#include <functional>
#include <memory>

#include "bilevel/glm/rows.h"
#include "bilevel/problem/derivatives.h"
#include "bilevel/task/auc/auc_loss.h"

namespace bilevel {

/// sign A(u / sqrt(1 + u^2), a, b, alpha) + strength |W|^2 over the rows of a batch with outputs u = A W + c and the batch's
/// weights. x is W [width], c, a and b, y is alpha.
struct LinearAucLoss {
  DesignRows rows;       ///< of the whole data set: a batch's rows are looked up by their numbers
  torch::Tensor labels;  ///< [n], 0 or 1
  AucLoss loss;
  double sign = 1;      ///< 1: f, -1: g
  double strength = 0;  ///< >= 0
};

/// For `Level::derivatives`, on the CPU, x and y of the rows' dtype. Cost of a point: one product with the batch's rows for
/// the outputs, one more for what is asked in x, and a pass over W.
std::function<std::unique_ptr<Derivatives>()> derivatives_of(const LinearAucLoss& loss);

}  // namespace bilevel
