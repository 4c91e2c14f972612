#include "bilevel/task/job/shared_columns.h"

#include <numeric>

namespace bilevel {

SharedColumns::SharedColumns(const FittedInputs& inputs, const std::vector<int64_t>& rows) {
  const int64_t width = inputs.shape.width;
  const torch::Tensor occurs = torch::bincount(inputs.inputs.gather(rows)[0], {}, width);
  for (const int64_t least : {2, 1, 0}) {
    columns_ = torch::nonzero(occurs >= least).squeeze(1);
    if (columns_.size(0) > 0) break;
  }
  new_number_ = torch::full({width}, -1, torch::kInt64);
  new_number_.index_copy_(0, columns_, torch::arange(columns_.size(0), torch::kInt64));
}

FittedInputs SharedColumns::apply(const FittedInputs& inputs) const {
  std::vector<int64_t> rows(static_cast<size_t>(inputs.inputs.rows()));
  std::iota(rows.begin(), rows.end(), 0);
  const std::vector<torch::Tensor> all = inputs.inputs.gather(rows);
  const torch::Tensor number = new_number_.index_select(0, all[0]);
  const torch::Tensor keep = number >= 0;
  const torch::Tensor kept = torch::cat({torch::zeros({1}, torch::kInt64), keep.to(torch::kInt64).cumsum(0)});
  SparseRows narrow{.indices = number.masked_select(keep),
                    .values = all[1].masked_select(keep),
                    .offsets = kept.index_select(0, all[2]),
                    .width = count()};
  FittedInputs result{Inputs::sparse(std::move(narrow)), inputs.shape};
  result.shape.width = count();
  return result;
}

std::vector<std::string> SharedColumns::names(const std::vector<std::string>& all) const {
  std::vector<std::string> own;
  const auto* column = columns_.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < count(); ++i) own.push_back(all[static_cast<size_t>(column[i])]);
  return own;
}

std::shared_ptr<Network> SharedColumns::widen(const Network& narrow, const InputShape& shape) const {
  const torch::NoGradGuard no_grad;
  std::shared_ptr<Network> wide = make_network(narrow.options(), shape);
  const std::vector<torch::Tensor> from = narrow.parameters(), to = wide->parameters();
  for (size_t i = 0; i < from.size(); ++i) {
    const torch::Tensor values = from[i].to(torch::kCPU);
    if (from[i].dim() == 2)
      to[i].zero_().index_copy_(0, columns_, values);
    else
      to[i].copy_(values);
  }
  return wide;
}

}  // namespace bilevel
