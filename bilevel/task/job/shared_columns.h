// The columns of sparse rows that more than one row has.
#pragma once

#include <torch/types.h>

#include <vector>

#include "bilevel/model/network.h"
#include "bilevel/task/job/job_data.h"

namespace bilevel {

/// All rows of sparse inputs with these columns only (int64, ascending), numbered anew; all columns are shared, not copied. @param width
/// of the inputs
Inputs narrowed(const Inputs& inputs, const torch::Tensor& columns, int64_t width);

/// Hashed n-grams have 2^18 columns, of which a data set uses a part, and half of those in one row only. A column
/// that one row alone has can tell nothing about any other row: without them a classifier is several times
/// smaller, and so is everything that a solver keeps for it.
class SharedColumns {
 public:
  /// Of the given rows; all columns that occur where none is shared. `inputs` must be sparse, on the host.
  SharedColumns(const FittedInputs& inputs, const std::vector<int64_t>& rows);

  /// All rows of `inputs` with these columns only, numbered anew.
  FittedInputs apply(const FittedInputs& inputs) const;

  /// The network (`linear` or `bag`) for all columns, from one for these; the weights of the others are 0.
  std::shared_ptr<Network> widen(const Network& narrow, const InputShape& shape) const;

  /// The names of these columns, of those of all.
  std::vector<std::string> names(const std::vector<std::string>& all) const;

  /// Of values of all columns those of these. @param of_all [width]
  torch::Tensor of(const torch::Tensor& of_all) const { return of_all.index_select(0, columns_); }

  int64_t count() const { return columns_.size(0); }

 private:
  torch::Tensor columns_;  // int64, ascending
};

}  // namespace bilevel
