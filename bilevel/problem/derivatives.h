// Losses that bring their own derivatives.
#pragma once

#include <torch/types.h>

#include <memory>

#include "bilevel/problem/batch.h"

namespace bilevel {

/// Where a derivative is added: out <- out + scale * derivative; `out` is flat, contiguous, in the dtype and on the device of
/// its variable. Null: it is not asked for.
struct Into {
  const torch::Tensor* out = nullptr;
  double scale = 1;
};

/// A loss L on a batch at a point (x, y). Gives what autograd gives of the level's `loss`, up to rounding; `check` compares the
/// two. The batch, x and y stay as they are for its lifetime.
class PointDerivatives {
 public:
  virtual ~PointDerivatives() = default;
  /// L.
  virtual double value() = 0;
  /// dL/dx and dL/dy.
  virtual void gradient(const Into& x, const Into& y) = 0;
  /// (d2L/dxdy) v and (d2L/dy2) v for flat v of the length of y.
  virtual void products(const torch::Tensor& v, const Into& cross_vjp, const Into& hvp) = 0;
};

/// The derivatives of a level's loss. A run makes one for itself, which may keep what does not change.
class Derivatives {
 public:
  virtual ~Derivatives() = default;
  /// @param x, y flat values of both variables
  virtual std::unique_ptr<PointDerivatives> at(const Batch& batch, const torch::Tensor& x,
                                               const torch::Tensor& y) = 0;
};

}  // namespace bilevel
