// A bilevel problem: min over x of f(x, y*(x)), where y*(x) minimizes g(x, y).
#pragma once

#include <torch/types.h>

#include <functional>

#include "bilevel/problem/batches.h"
#include "bilevel/problem/derivatives.h"
#include "bilevel/problem/parameter_list.h"
#include "bilevel/problem/sets.h"

namespace bilevel {

/// A loss of one level: a scalar tensor (0-dimensional or one element), differentiable in what it depends on.
using Loss = std::function<torch::Tensor(const Batch&)>;
/// The part that depends on x alone: features of a batch, rows along the first dimension.
using Encode = std::function<torch::Tensor(const Batch&)>;
/// A loss in terms of the features; it may read y and x directly too.
using FeatureLoss = std::function<torch::Tensor(const torch::Tensor& features, const Batch&)>;

/// One level: its variable, its objective and its data. Exactly one of `loss` and `feature_loss` is set, the
/// latter only beside `Problem::encode`.
struct Level {
  ParameterList parameters;  ///< leaves that require gradients, floating point, one dtype and device
  Loss loss = nullptr;       ///< f or g on a batch
  FeatureLoss feature_loss = nullptr;  ///< f or g on encoded features
  BatchSource batches = {};            ///< where its batches come from
  /// Upper level only: the nearest point of the feasible set to a flat x; every step on x ends with it. Not given: x is free.
  /// See sets.h for boxes, balls and simplices, and for sets of single parameters.
  Projection project = nullptr;
  /// Makes the derivatives of `loss`, where they are known without autograd: see linear_model.h for linear models. They are
  /// used where both levels have them, and x and y lie on the CPU in one dtype; `loss`, which must then draw no random numbers,
  /// remains what they are checked against.
  /// Who puts another `loss` in place takes them away.
  std::function<std::unique_ptr<Derivatives>()> derivatives = nullptr;
};

/// The two levels. When both objectives see x through one encoder, give `encode` and `feature_loss`es instead
/// of plain losses: one encoder pass then serves every use of a batch, batches that meet are gathered, moved and
/// encoded together (where one data set has both, or their inputs can be concatenated), and no second derivative ever
/// runs through the encoder. The results are the same.
struct Problem {
  Level upper;  ///< x and f
  Level lower;  ///< y and g

  /// Features of a batch, from x alone (a dependence on y is refused).
  Encode encode = nullptr;
  /// A lower Hessian that depends on no data: v -> (d2g/dy2) v for flat v at the present (x, y). Estimators
  /// then draw no batches for their Hessian-vector products.
  std::function<torch::Tensor(const torch::Tensor& v)> lower_hessian = nullptr;
  /// Tells the losses that are evaluated next whether derivatives of their gradients may follow (true) or not: for models whose
  /// fast kernels have none. It is true between evaluations. Null: the losses are alike for both.
  std::function<void(bool)> set_twice_differentiable = nullptr;
};

}  // namespace bilevel
