#include "bilevel/task/job/linear_fit.h"

#include <torch/optim/lbfgs.h>

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

double minimize_by_lbfgs(const std::vector<torch::Tensor>& parameters,
                         const std::function<std::pair<double, torch::Tensor>()>& loss_and_gradient,
                         int64_t evaluations) {
  int64_t spent = 0;
  torch::optim::LBFGS optimizer(parameters, torch::optim::LBFGSOptions(1)
                                                .max_iter(evaluations)
                                                .max_eval(evaluations)
                                                .history_size(10)
                                                .tolerance_grad(1e-7)
                                                .tolerance_change(1e-12)
                                                .line_search_fn("strong_wolfe"));
  optimizer.step([&] {
    ++spent;
    const auto [loss, gradient] = loss_and_gradient();
    int64_t first = 0;
    for (const torch::Tensor& parameter : parameters) {
      parameter.mutable_grad() = gradient.narrow(0, first, parameter.numel()).view(parameter.sizes());
      first += parameter.numel();
    }
    return torch::tensor(loss, gradient.options());
  });
  for (const torch::Tensor& parameter : parameters) parameter.mutable_grad() = torch::Tensor();
  return static_cast<double>(spent);
}

}  // namespace bilevel
