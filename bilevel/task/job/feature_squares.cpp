#include "bilevel/task/job/feature_squares.h"

#include <algorithm>

namespace bilevel {
namespace {

constexpr size_t kSquaredRows = 65536;  // are gathered at a time

}  // namespace

torch::Tensor quarter_squares(const Inputs& inputs, const std::vector<int64_t>& rows, int64_t width) {
  torch::Tensor sums;
  for (size_t first = 0; first < rows.size(); first += kSquaredRows) {
    const size_t last = std::min(rows.size(), first + kSquaredRows);
    const std::vector<torch::Tensor> tensors = inputs.gather(
        {rows.begin() + static_cast<int64_t>(first), rows.begin() + static_cast<int64_t>(last)});
    const torch::Tensor values =
        tensors[inputs.kind() == InputKind::dense ? 0 : 1].square().to(torch::get_default_dtype());
    if (!sums.defined()) sums = torch::zeros({width}, values.options());
    if (inputs.kind() == InputKind::dense)
      sums += values.sum(0);
    else
      sums.scatter_add_(0, tensors[0], values);
  }
  return 0.25 / static_cast<double>(rows.size()) * sums;
}

}  // namespace bilevel
