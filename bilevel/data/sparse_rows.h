// Rows of a sparse matrix, in the layout that torch::nn::EmbeddingBag takes with include_last_offset.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

namespace bilevel {

/// n sparse rows: row i has the entries offsets[i] to offsets[i+1]-1. Indices of a row are ascending and not
/// repeated.
struct SparseRows {
  torch::Tensor indices;  ///< int64 [nnz], 0 to width-1
  torch::Tensor values;   ///< float32 [nnz]
  torch::Tensor offsets;  ///< int64 [n+1], from 0 to nnz
  int64_t width = 0;      ///< columns of the matrix

  int64_t rows() const { return offsets.defined() ? offsets.size(0) - 1 : 0; }
  int64_t entries() const { return indices.defined() ? indices.size(0) : 0; }

  /// The rows with these numbers, in this order (repeats allowed). Cost: their entries. std::out_of_range.
  SparseRows select(const std::vector<int64_t>& rows) const;

  /// float32 [n, width].
  torch::Tensor to_dense() const;
};

/// Collects rows into SparseRows.
class SparseRowsBuilder {
 public:
  void add_entry(int64_t index, float value) {
    indices_.push_back(index);
    values_.push_back(value);
  }
  void end_row() { offsets_.push_back(static_cast<int64_t>(indices_.size())); }

  /// The rows so far; the builder is empty afterwards.
  SparseRows finish(int64_t width);

 private:
  std::vector<int64_t> indices_;
  std::vector<float> values_;
  std::vector<int64_t> offsets_{0};
};

/// A tensor that takes over the memory of `values`.
torch::Tensor adopt(std::vector<int64_t> values);
torch::Tensor adopt(std::vector<float> values);

}  // namespace bilevel
