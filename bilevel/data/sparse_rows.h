// Rows of a sparse matrix, in the layout that torch::nn::EmbeddingBag takes with include_last_offset.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "bilevel/core/large_tensor.h"

namespace bilevel {

/// n sparse rows: row i has the entries offsets[i] to offsets[i+1]-1. Indices of a row are ascending and not
/// repeated.
struct SparseRows {
  torch::Tensor indices;  ///< int64 [nnz], 0 to width-1
  torch::Tensor values;   ///< float32 or float64 [nnz]
  torch::Tensor offsets;  ///< int64 [n+1], from 0 to nnz
  int64_t width = 0;      ///< columns of the matrix

  int64_t rows() const { return offsets.defined() ? offsets.size(0) - 1 : 0; }
  int64_t entries() const { return indices.defined() ? indices.size(0) : 0; }

  /// The rows with these numbers, in this order (repeats allowed). Cost: their entries. std::out_of_range.
  SparseRows select(const std::vector<int64_t>& rows) const;

  /// [n, width], in the dtype of the values.
  torch::Tensor to_dense() const;
};

/// Collects rows into SparseRows whose values are float or double.
template <typename Value = float>
class SparseRowsBuilder {
 public:
  void add_entry(int64_t index, Value value) {
    indices_.push_back(index);
    values_.push_back(value);
  }
  void end_row() { offsets_.push_back(static_cast<int64_t>(indices_.size())); }

  /// The rows so far; the builder is empty afterwards.
  SparseRows finish(int64_t width) {
    SparseRows rows{adopt(std::exchange(indices_, {})), adopt(std::exchange(values_, {})),
                    adopt(std::exchange(offsets_, {0})), width};
    return rows;
  }

 private:
  LargeArray<int64_t> indices_;
  LargeArray<Value> values_;
  std::vector<int64_t> offsets_{0};
};

}  // namespace bilevel
