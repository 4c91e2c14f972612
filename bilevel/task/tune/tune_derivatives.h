// The losses of `tune` for linear models, with their derivatives by hand.
#pragma once

#include <functional>
#include <memory>

#include "bilevel/glm/linear_loss.h"

namespace bilevel {

/// Which weights have a strength in common.
enum class StrengthOf { all, feature, output };

/// A level of a convex TuneModel, in whose terms it is written: the mean loss of the rows at W = y / sqrt(h + lambda) and the
/// biases `bias_scale` y, plus what is asked for below. x is m, then deviations, or the logit of eps, or logits of class weights.
struct TunedLoss {
  LinearLoss rows;        ///< softmax with biases, without weights and strengths of its own
  torch::Tensor squares;  ///< h, [width]
  double bias_scale = 1;
  StrengthOf strengths = StrengthOf::all;  ///< but for `all`, x goes on with one deviation each
  double least = 0, most = 0;              ///< of a strength's logarithm, > or < which it no longer moves
  bool penalized = false;                  ///< plus 1/2 sum lambda / (h + lambda) y^2
  torch::Tensor class_shares =
      {};                 ///< [outputs]: the rows count by learned weights of classes; undefined: all alike
  bool smoothed = false;  ///< against targets smoothed by eps
  torch::Tensor centre = {};  ///< plus prior/2 sum (x - centre)^2 over x behind m; undefined: nothing
  double prior = 0;
};

/// For `Level::derivatives`, on the CPU, x and y of the rows' dtype. Cost: that of the linear loss's and a few passes over y.
std::function<std::unique_ptr<Derivatives>()> derivatives_of(const TunedLoss& loss);

}  // namespace bilevel
