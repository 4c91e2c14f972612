// A batch: the tensors that a loss reads, with the row numbers they came from.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

namespace bilevel {

/// A mini-batch. The loss reads `tensors` by position; `rows` says which rows of the data set they are, so
/// that a batch can be counted, replayed and matched to a slot of a solver's memory. Copies share the
/// tensors.
struct Batch {
  std::vector<torch::Tensor> tensors;
  std::vector<int64_t> rows;
  /// What each row counts in a mean over the batch, float64 [rows]; undefined: all the same. A batch that holds the
  /// classes in other shares than the data do has them (see BatchSource), and a loss is then an unbiased
  /// estimate of the loss on all rows only as a `weighted_mean`.
  torch::Tensor weights = {};

  /// The i-th tensor. Throws std::out_of_range.
  const torch::Tensor& operator[](size_t i) const { return tensors.at(i); }

  /// Number of rows.
  int64_t size() const { return static_cast<int64_t>(rows.size()); }

  /// The same batch with its tensors on `device`.
  Batch to(const torch::Device& device) const;
};

/// mean_i(weights_i values_i), the sum divided by the number of rows, not by that of the weights; the plain mean
/// where `weights` is undefined.
/// @param values [rows]; @param weights [rows], of any dtype and device, or undefined
torch::Tensor weighted_mean(const torch::Tensor& values, const torch::Tensor& weights);

}  // namespace bilevel
