// The loss of linear models on sources of rows that are weighed by a softmax, and its derivatives by hand.
#pragma once

#include <torch/types.h>

#include <functional>
#include <memory>

#include "bilevel/glm/linear_loss.h"
#include "bilevel/problem/derivatives.h"

namespace bilevel {

/// L(x, y) = `linear`((p, x_m+1, ...), y) with p = softmax(x_1, ..., x_m), one logit for each of m sources: rows of source s, whose
/// unit it is, count p_s times what `linear` makes of them.
struct MixtureLoss {
  LinearLoss linear;  ///< of plain row weights, with what x says beyond the sources as it is
  int64_t sources = 1;

  /// What `linear` gets as its x. With its graph.
  torch::Tensor units(const torch::Tensor& x) const;
  /// L on a batch, with its graph in x and y: what the derivatives are checked against. Flat x, y.
  torch::Tensor value(const Batch& batch, const torch::Tensor& x, const torch::Tensor& y) const;
};

/// For `Level::derivatives`, on the CPU, x and y of the rows' dtype. With d_s the derivative in p_s, that in the logits is
/// p_s (d_s - sum_t p_t d_t). Cost: that of the linear loss, and two passes over x. Throws InputError as that does, and for row
/// weights that are not plain.
std::function<std::unique_ptr<Derivatives>()> derivatives_of(const MixtureLoss& loss);

/// The logits times the largest factor in [0, 1] that leaves their softmax an entropy of at least `floor` log(sources): the nearest
/// mixture on the way to equal weights. @param logits [sources], of any floating type @param floor in [0, 1]
torch::Tensor with_entropy(const torch::Tensor& logits, double floor);

}  // namespace bilevel
