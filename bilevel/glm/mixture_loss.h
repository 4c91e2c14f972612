// The loss of linear models on sources of rows that are weighed by a softmax, and its derivatives by hand.
#pragma once

#include <torch/types.h>

#include <functional>
#include <memory>
#include <vector>

#include "bilevel/glm/linear_loss.h"
#include "bilevel/problem/derivatives.h"

namespace bilevel {

/// Which rows one of the models sees, and as what.
struct MixedRows {
  /// int64 [n]: the source of each row of the data set, from 0; the number of sources: the model does not see it.
  torch::Tensor source_of;
  /// [sources]: what a row of each counts beside its weight, in a mean over all rows that are drawn. With (rows drawn from) / (rows
  /// of the source that the model sees) the sum over the sources is one of their mean losses.
  torch::Tensor factors;
};

/// L(x, y) = sum_k [ mean_r c_r v_s(r) loss(W_k'a_r + b_k, t_r) + exp(x_m)/2 sum_j q_j W_kj^2 ] + prior/2 |x - centre|^2
///
/// over the rows r of a batch, c_r `Batch::weights`, for models k side by side: y is theirs one after the other, each W_k [width,
/// outputs] row by row and then b_k. x has m logits, one a source, and then the logarithm of the penalty's strength. A row of
/// source s counts v_s = f_s p_s for the model's factors f and p = softmax of the logits (or f_s alone), and not at all where the
/// model does not see it.
struct MixtureLoss {
  LinearLoss rows;                ///< of a linear model with biases; without weights and strengths of its own
  std::vector<MixedRows> models;  ///< of one number of sources, m
  bool weighed = true;            ///< whether rows count with p
  torch::Tensor penalty_factors = {};  ///< q [width * outputs]; undefined: no penalty
  torch::Tensor centre = {};           ///< [m + 1]; undefined: no prior
  double prior = 0;

  int64_t sources() const { return models.front().factors.size(0); }
  /// Numbers of y that one model has.
  int64_t model_size() const { return (rows.rows.width() + 1) * rows.outputs; }
  /// What model k sees, as a linear loss whose x is `units_of(k, x)`: L without its prior is the sum over the models.
  LinearLoss loss_of(size_t k) const;
  torch::Tensor units_of(size_t k, const torch::Tensor& x) const;
  /// L on a batch, with its graph in x and y: what the derivatives are checked against. Flat x, y.
  torch::Tensor value(const Batch& batch, const torch::Tensor& x, const torch::Tensor& y) const;
};

/// For `Level::derivatives`, on the CPU, x and y of the rows' dtype. With d_s the derivative of the sum over the models in p_s, that
/// in the logits is p_s (d_s - sum_t p_t d_t). Cost: for each model that of a linear loss, and two products with x. Throws
/// InputError for a loss without models or biases, and for tensors that do not fit.
std::function<std::unique_ptr<Derivatives>()> derivatives_of(const MixtureLoss& loss);

/// The logits times the largest factor in [0, 1] that leaves their softmax an entropy of at least `floor` log(sources): the nearest
/// mixture on the way to equal weights. @param logits [sources], of any floating type @param floor in [0, 1]
torch::Tensor with_entropy(const torch::Tensor& logits, double floor);

}  // namespace bilevel
