// Rows of a data set as inputs of a network, whatever their kind.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <string>
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
  /// Numbers of dense rows, entries of sparse ones, tokens: of all rows.
  int64_t entries() const;
  /// Bytes of all rows.
  int64_t bytes() const;
  torch::Device device() const;

  /// The same rows in the memory of a device, where they are then gathered too; what says how many entries rows have stays on
  /// the host.
  Inputs to(const torch::Device& device) const;

  /// All of them: {x [n,d]} or {indices, values, offsets}, shared; nothing for tokens.
  std::vector<torch::Tensor> matrix() const;

  /// The input tensors of the given rows: {x [B,d]}, {indices, values, offsets} or {ids [B,T] padded with 0,
  /// lengths [B], on the host}. Does not wait for a device.
  std::vector<torch::Tensor> gather(const std::vector<int64_t>& rows) const;

 private:
  InputKind kind_ = InputKind::dense;
  torch::Tensor dense_;
  SparseRows sparse_;  // offsets: on the host
  TokenRows tokens_;
};

/// Where rows lie while a model on `device` is trained: there, if they take at most half of the memory that is free there; else
/// on the host, from where every batch goes. `line` says which, for a person; it stays empty on the CPU.
Inputs placed(const Inputs& inputs, const torch::Device& device, std::string& line);

/// How many of `gather`'s tensors go to a device (`DataSet::moved_inputs`).
size_t moved_inputs(InputKind kind);

/// The same rows with one target each, [rows], which go where the inputs lie.
std::shared_ptr<const DataSet> data_set(const Inputs& inputs, const torch::Tensor& targets);

}  // namespace bilevel
