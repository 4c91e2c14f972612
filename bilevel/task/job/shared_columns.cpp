#include "bilevel/task/job/shared_columns.h"

namespace bilevel {

namespace {

/// @param number of each column among those that stay; -1: it goes
template <typename Value>
SparseRows narrowed(const std::vector<torch::Tensor>& matrix, const std::vector<int64_t>& number,
                    int64_t width) {
  SparseRowsBuilder<Value> rows;  // entry by entry: what they hold may be larger than the memory
  const auto* index = matrix[0].const_data_ptr<int64_t>();
  const auto* value = matrix[1].const_data_ptr<Value>();
  const auto* offset = matrix[2].const_data_ptr<int64_t>();
  for (int64_t row = 0; row + 1 < matrix[2].numel(); ++row) {
    for (int64_t e = offset[row]; e < offset[row + 1]; ++e) {
      if (const int64_t own = number[static_cast<size_t>(index[e])]; own >= 0) rows.add_entry(own, value[e]);
    }
    rows.end_row();
  }
  return rows.finish(width);
}

}  // namespace

Inputs narrowed(const Inputs& inputs, const torch::Tensor& columns, int64_t width) {
  const int64_t kept = columns.numel();
  if (kept == width) return inputs;
  std::vector<int64_t> number(static_cast<size_t>(width), -1);
  const torch::Tensor on_host = columns.to(torch::kCPU);
  for (int64_t i = 0; i < kept; ++i) number[static_cast<size_t>(on_host.const_data_ptr<int64_t>()[i])] = i;
  const std::vector<torch::Tensor> matrix = inputs.to(torch::kCPU).matrix();
  const bool doubles = matrix[1].scalar_type() == torch::kFloat64;
  return Inputs::sparse(doubles ? narrowed<double>(matrix, number, kept)
                                : narrowed<float>(matrix, number, kept))
      .to(inputs.device());
}

SharedColumns::SharedColumns(const FittedInputs& inputs, const std::vector<int64_t>& rows) {
  const std::vector<torch::Tensor> matrix = inputs.inputs.matrix();
  const auto* index = matrix[0].const_data_ptr<int64_t>();
  const auto* offset = matrix[2].const_data_ptr<int64_t>();
  torch::Tensor occurs = torch::zeros({inputs.shape.width}, torch::kInt64);
  auto* count = occurs.mutable_data_ptr<int64_t>();
  for (const int64_t row : rows)
    for (int64_t e = offset[row]; e < offset[row + 1]; ++e) ++count[index[e]];
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
