#include "bilevel/task/job/shared_columns.h"

namespace bilevel {

Inputs narrowed(const Inputs& inputs, const torch::Tensor& columns, int64_t width) {
  const std::vector<torch::Tensor> matrix = inputs.matrix();
  const torch::Tensor& indices = matrix[0];
  torch::Tensor number = torch::full({width}, -1, indices.options());
  number.index_copy_(0, columns.to(indices.device()), torch::arange(columns.numel(), indices.options()));
  const torch::Tensor numbered = number.index_select(0, indices), kept = numbered >= 0;
  const torch::Tensor before = torch::cat({torch::zeros({1}, torch::kInt64), kept.cumsum(0).to(torch::kCPU)});
  return Inputs::sparse({.indices = numbered.masked_select(kept),
                         .values = matrix[1].masked_select(kept),
                         .offsets = before.index_select(0, matrix[2].to(torch::kCPU)),
                         .width = columns.numel()});
}

SharedColumns::SharedColumns(const FittedInputs& inputs, const std::vector<int64_t>& rows) {
  const int64_t width = inputs.shape.width;
  const torch::Tensor occurs = torch::bincount(inputs.inputs.gather(rows)[0], {}, width);
  for (const int64_t least : {2, 1, 0}) {
    columns_ = torch::nonzero(occurs >= least).squeeze(1);
    if (columns_.size(0) > 0) break;
  }
}

FittedInputs SharedColumns::apply(const FittedInputs& inputs) const {
  FittedInputs result{narrowed(inputs.inputs, columns_, inputs.shape.width), inputs.shape};
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
