#include "bilevel/task/job/feature_squares.h"

namespace bilevel {

torch::Tensor quarter_squares(const Inputs& inputs, const std::vector<int64_t>& rows, int64_t width) {
  torch::Tensor sums;
  each_gathered(inputs, rows, [&](const std::vector<int64_t>&, const std::vector<torch::Tensor>& read) {
    const torch::Tensor values =
        read[inputs.kind() == InputKind::dense ? 0 : 1].square().to(torch::get_default_dtype());
    if (!sums.defined()) sums = torch::zeros({width}, values.options());
    if (inputs.kind() == InputKind::dense)
      sums += values.sum(0);
    else
      sums.scatter_add_(0, read[0], values);
  });
  return 0.25 / static_cast<double>(rows.size()) * sums;
}

}  // namespace bilevel
