// Rows of a data set as inputs of a network, whatever their kind.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "bilevel/data/sparse_rows.h"
#include "bilevel/data/vocabulary.h"
#include "bilevel/model/encoder.h"
#include "bilevel/problem/batch.h"

namespace bilevel {

/// All rows of a data set in the form that a network of one input kind reads. Copies share the tensors.
class Inputs {
 public:
  Inputs() = default;
  /// @param rows [n, d] float32.
  static Inputs dense(torch::Tensor rows);
  static Inputs sparse(SparseRows rows);
  static Inputs tokens(TokenRows rows);

  /// The rows of several of one kind, one after the other. Throws InputError when there are none.
  static Inputs concatenate(const std::vector<Inputs>& parts);

  InputKind kind() const { return kind_; }
  int64_t rows() const;

  /// All of them: {x [n,d]} or {indices, values, offsets}, shared; nothing for tokens.
  std::vector<torch::Tensor> matrix() const;

  /// The input tensors of the given rows: {x [B,d]}, {indices, values, offsets} or {ids [B,T] padded with 0,
  /// lengths [B]}.
  std::vector<torch::Tensor> gather(const std::vector<int64_t>& rows) const;

 private:
  InputKind kind_ = InputKind::dense;
  torch::Tensor dense_;
  SparseRows sparse_;
  TokenRows tokens_;
};

/// The same rows with one target each, [rows].
std::shared_ptr<const DataSet> data_set(const Inputs& inputs, const torch::Tensor& targets);

}  // namespace bilevel
