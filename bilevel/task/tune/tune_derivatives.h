// The losses of `tune` for linear models, with their derivatives by hand.
#pragma once

#include <functional>
#include <memory>

#include "bilevel/glm/linear_loss.h"

namespace bilevel {

/// Which weights have a strength in common. Of `evidence` those of a feature in one of the models.
enum class StrengthOf { all, feature, output, evidence };

/// A level of a convex TuneModel, in whose terms it is written: the loss of the rows, of models side by side, at W = y / sqrt(h + lambda)
/// and the biases `bias_scale` y, plus what is asked for below. x is m, then deviations or slopes, or the logit of eps or of r, or logits of class
/// weights.
struct TunedLoss {
  LinearLoss rows;        ///< softmax with biases, without units and strengths of its own
  torch::Tensor squares;  ///< h, [width, models]
  double bias_scale = 1;
  /// `feature` and `output`: x goes on with one deviation each; `evidence`: with the slopes a, and the deviations are a' evidence.
  StrengthOf strengths = StrengthOf::all;
  torch::Tensor evidence = {};  ///< [slopes, width, models]
  double least = 0, most = 0;   ///< of a strength's logarithm, > or < which it no longer moves
  bool penalized = false;       ///< plus 1/2 sum lambda / (h + lambda) y^2
  /// [models, outputs]: the rows count by learned weights of classes, of mean 1 over a model's rows; undefined: all alike
  torch::Tensor class_shares = {};
  bool smoothed = false;  ///< against targets smoothed by eps
  /// With `penalized`: (1 - r) times the penalty, plus r lambda / sqrt(h + lambda) times the sum of |y|, or of what is like it but bends
  /// around 0.
  enum class Norm { none, bent, left_out } l1 = Norm::none;
  /// delta, in units in which the loss curves by about 1: weights that differ by it differ by 5e-5 in the loss.
  static constexpr double kBend = 1e-2;
  torch::Tensor centre = {};  ///< plus prior/2 sum (x - centre)^2 over x behind m; undefined: nothing
  double prior = 0;
};

/// For `Level::derivatives`, on the CPU, x and y of the rows' dtype. Cost: that of the linear loss's and a few passes over y.
std::function<std::unique_ptr<Derivatives>()> derivatives_of(const TunedLoss& loss);

}  // namespace bilevel
