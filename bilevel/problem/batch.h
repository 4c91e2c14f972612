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

  /// The i-th tensor. Throws std::out_of_range.
  const torch::Tensor& operator[](size_t i) const { return tensors.at(i); }

  /// Number of rows.
  int64_t size() const { return static_cast<int64_t>(rows.size()); }

  /// The same batch with its tensors on `device`.
  Batch to(const torch::Device& device) const;
};

}  // namespace bilevel
