// The loss of a linear model with learned weights of its rows or strengths of its penalty, and its derivatives by hand.
#pragma once

#include <torch/types.h>

#include <functional>
#include <memory>

#include "bilevel/glm/row_loss.h"
#include "bilevel/glm/rows.h"
#include "bilevel/problem/derivatives.h"

namespace bilevel {

/// How a row's weight follows from its x_u.
enum class RowWeight { sigmoid, plain, exponential };

/// L(x, y) = mean_i c_i w_i loss(W'a_i + b, t_i) + 1/2 sum_j s_j y_j^2
///
/// over the rows i of a batch: a_i the features, t_i the target, c_i `Batch::weights` (1 where there are none). y is W [width,
/// k] (row by row) and then, with `bias`, b [k]. w_i is row_weights[i], times what `weight` makes of x_u with u = unit_of[i] >= 0; s_j is
/// `strength`, and with strength_of[j] = u >= 0 `strength_factor`[j] exp(x_u) is added.
struct LinearLoss {
  DesignRows rows;        ///< of the whole data set: a batch's rows are looked up by their numbers
  torch::Tensor targets;  ///< [n], see RowLoss
  RowLoss loss = RowLoss::logistic;
  int64_t outputs = 1;  ///< k
  bool bias = false;
  torch::Tensor row_weights = {};  ///< [n]; undefined: 1
  torch::Tensor unit_of = {};      ///< int64 [n], -1: x says nothing of the row's weight; undefined: of none
  RowWeight weight = RowWeight::sigmoid;
  double strength = 0;                 ///< of all of y
  torch::Tensor strength_of = {};      ///< int64 [dim y]; undefined: no strength is learned
  torch::Tensor strength_factor = {};  ///< [dim y], >= 0; undefined: ones

  /// L on a batch, with its graph in x and y: what the derivatives are checked against. Flat x, y.
  torch::Tensor value(const Batch& batch, const torch::Tensor& x, const torch::Tensor& y) const;
};

/// The derivatives for `Level::derivatives`, on the CPU, x and y of the rows' dtype. Cost: `value` and `gradient` one product
/// with the batch's rows for the outputs, kept for the point; `gradient` and `products` one more for the result and `products`
/// one for A v; plus one pass over y for the penalty.
std::function<std::unique_ptr<Derivatives>()> derivatives_of(const LinearLoss& loss);

}  // namespace bilevel
