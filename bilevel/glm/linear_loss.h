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

/// L(x, y) = sum_m mean_i c_i w_mi loss(W_m'a_i + b_m, t_i) + 1/2 sum_j s_j y_j^2 + precision/2 |x - centre|^2
///
/// over the rows i of a batch, for models m side by side, which differ in what they make of the rows: a_i the features, t_i the target,
/// c_i `Batch::weights` (1 where there are none). y is W [width, models, k] (row by row) and then, with `bias`, b [models, k]. w_mi is
/// row_weights[m, i], times what `weight` makes of x_u with u = unit_of[m, i] >= 0; s_j is `strength`, and with strength_of[j] = u >= 0
/// `strength_factor`[j] exp(x_u) is added.
struct LinearLoss {
  DesignRows rows;        ///< of the whole data set: a batch's rows are looked up by their numbers
  torch::Tensor targets;  ///< [n], see RowLoss
  RowLoss loss = RowLoss::logistic;
  int64_t outputs = 1;  ///< k
  int64_t models = 1;
  bool bias = false;
  torch::Tensor row_weights = {};  ///< [models, n], or [n] for all models; undefined: 1
  /// int64 [models, n], or [n] for all models; -1: x says nothing of the row's weight; undefined: of none.
  torch::Tensor unit_of = {};
  RowWeight weight = RowWeight::sigmoid;
  double strength = 0;                 ///< of all of y
  torch::Tensor strength_of = {};      ///< int64 [dim y]; undefined: no strength is learned
  torch::Tensor strength_factor = {};  ///< [dim y], >= 0; undefined: ones
  torch::Tensor centre = {};           ///< of a normal prior of x; undefined: none
  double precision = 0;

  /// Numbers that a row's outputs are, of all models.
  int64_t columns() const { return models * outputs; }
  /// Numbers of y.
  int64_t size() const { return (rows.width() + (bias ? 1 : 0)) * columns(); }
  /// What a row counts for each model, c_i apart: w [rows, models] of a batch, or [rows, 1] for all models. With its graph in x.
  torch::Tensor weights(const Batch& batch, const torch::Tensor& x) const;
  /// s [dim y].
  torch::Tensor strengths(const torch::Tensor& x) const;
  /// [dim y]: what the diagonal of the Hessian of L in y does not exceed, wherever y is, with weights >= 0. Cost: about one product.
  torch::Tensor curvature_bounds(const Batch& batch, const torch::Tensor& x) const;
  /// y of model m alone, as one of a loss of a single model: [W, b].
  torch::Tensor model_of(const torch::Tensor& y, int64_t m) const;
  /// [dim y] from what holds for each of the features: `of_features` [width], the same for every model and output, and `of_bias`.
  torch::Tensor for_each_weight(const torch::Tensor& of_features, double of_bias) const;

  /// L on a batch, with its graph in x and y: what the derivatives are checked against. Flat x, y.
  torch::Tensor value(const Batch& batch, const torch::Tensor& x, const torch::Tensor& y) const;
};

/// The derivatives for `Level::derivatives`, on the CPU, x and y of the rows' dtype. Cost: `value` and `gradient` one product
/// with the batch's rows for the outputs, kept for the point; `gradient` and `products` one more for the result and `products`
/// one for A v; plus one pass over y for the penalty. A row is read once for all models.
std::function<std::unique_ptr<Derivatives>()> derivatives_of(const LinearLoss& loss);

}  // namespace bilevel
