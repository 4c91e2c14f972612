// Rows of numbers, read where they lie: their products with the parameters of a linear model.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "bilevel/glm/row_kernels.h"

namespace bilevel {

/// All rows of a data set, dense [n, width] or compressed sparse ones. Cheap to copy: it shares its tensors. A run of columns that nearly all
/// sparse rows have (the vector of a sentence beside n-grams) is kept as a dense matrix.
class DesignRows {
 public:
  DesignRows() = default;
  /// @param inputs dense {x [n, width]}, or sparse {indices [nnz] int64, values [nnz], offsets [n+1] int64}; on the CPU
  /// @param dtype float32 or float64. The values are copied once where theirs is another, and dense rows also where their
  /// width is no multiple of 64 bytes, and sparse ones where they have a dense run.
  /// Throws InputError for inputs of another shape or an index outside of [0, width).
  DesignRows(const std::vector<torch::Tensor>& inputs, int64_t width, torch::ScalarType dtype);

  int64_t width() const { return width_; }
  /// Number of rows.
  int64_t count() const { return count_; }
  bool sparse() const { return offsets_.defined(); }
  torch::ScalarType dtype() const { return values_.scalar_type(); }

  /// A W [rows, k] with its graph in W; `numbers` int64 [rows].
  torch::Tensor product(const torch::Tensor& numbers, const torch::Tensor& w) const;

  /// How many rows should be multiplied at a time, so that they are still in a cache when they are needed again.
  int64_t block(int64_t k) const;

  /// Numbers that a column of `multiply` and `add_transposed` has: the width, and for dense rows with k = 1 zeros behind it, to
  /// a multiple of 64 bytes. Such columns begin at a multiple of 64 bytes.
  int64_t padded(int64_t k) const;
  bool pads(int64_t k) const { return !sparse() && k == 1; }

  /// out [rows, k] <- A W for the given rows A and a matrix W [padded, k], k columns side by side. T is the dtype. Cost: one
  /// multiplication for each number that a row has and each of the k.
  template <typename T>
  void multiply(const RowSpan& rows, const T* w, int64_t k, T* out) const;
  /// The same for two matrices, whose products read every row once.
  template <typename T>
  void multiply(const RowSpan& rows, const T* w, const T* v, int64_t k, T* out, T* out_v) const;

  /// out [padded, k] <- out + A' R for R [rows, k]. Cost as above.
  template <typename T>
  void add_transposed(const RowSpan& rows, const T* r, int64_t k, T* out) const;

  /// (A * A)' R, the squares number by number: [width, k] for R [rows, k]. @param numbers int64 [rows]
  torch::Tensor weighted_squares(const torch::Tensor& numbers, const torch::Tensor& r) const;

 private:
  /// Moves the longest run of columns that most rows have into `run_`, if it is long enough.
  void split();
  bool has_dense() const { return !sparse() || run_.defined(); }
  /// Dense rows, with the zeros behind them, or the dense run of sparse ones.
  const torch::Tensor& dense() const { return sparse() ? run_ : values_; }
  template <typename T>
  StridedRows<T> dense_rows() const;
  template <typename T>
  CompressedRows<T> sparse_rows() const;

  torch::Tensor values_;             // [n, width] or [nnz]
  torch::Tensor indices_, offsets_;  // sparse only
  torch::Tensor run_;                // [n, columns] from first_ on, sparse only; undefined: none
  int64_t count_ = 0, width_ = 0, stride_ = 0, first_ = 0;
};

}  // namespace bilevel
