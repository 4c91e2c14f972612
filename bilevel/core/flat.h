// Updates of flat variables in one pass over memory each.
#pragma once

#include <torch/types.h>

#include <initializer_list>
#include <vector>

namespace bilevel {

// All tensors of a call are 1-D, of one length, dtype (float32 or float64) and device. On the CPU a short one costs a loop
// over its numbers and nothing else; a long one or one on another device is left to LibTorch. No graph is recorded.

/// Whether a call with these takes the loop.
bool short_alike(std::initializer_list<torch::Tensor> tensors);

/// f(float{}) or f(double{}), by the dtype of a tensor of either.
template <typename F>
auto with_type(const torch::Tensor& t, const F& f) {
  return t.scalar_type() == torch::kFloat32 ? f(float{}) : f(double{});
}

/// Zeros of the length, dtype and device of a flat tensor.
torch::Tensor zeros_of(const torch::Tensor& like);

/// A copy of a flat tensor.
torch::Tensor copy_of(const torch::Tensor& v);

/// y <- x.
void copy_into(const torch::Tensor& x, const torch::Tensor& y);

/// y <- a x + y.
void axpy(double a, const torch::Tensor& x, const torch::Tensor& y);

/// y <- a x + b y.
void axpby(double a, const torch::Tensor& x, double b, const torch::Tensor& y);

/// The Euclidean norm, 0-dim.
torch::Tensor flat_norm(const torch::Tensor& v);

/// 0, where no number of any of them (of any shape; undefined ones have none) is infinite or NaN; else NaN. 0-dim, on their
/// device; undefined where none is defined.
torch::Tensor zero_if_finite(const std::vector<torch::Tensor>& tensors);

/// The numbers of 0-dim tensors in float64, read together: one wait for their device. 0 for an undefined one.
std::vector<double> numbers_of(std::vector<torch::Tensor> tensors);

/// Whether no number of any of them (of any shape; undefined ones have none) is infinite or NaN. Waits once for a device.
bool all_finite(std::initializer_list<torch::Tensor> tensors);

}  // namespace bilevel
