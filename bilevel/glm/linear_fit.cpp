#include "bilevel/glm/linear_fit.h"

#include <torch/optim/lbfgs.h>

namespace bilevel {

torch::Tensor fit_linear(const LinearLoss& loss, const Batch& batch, const torch::Tensor& x,
                         const torch::Tensor& start, const LinearFitOptions& options) {
  const std::unique_ptr<Derivatives> derivatives = derivatives_of(loss)();
  const torch::Tensor gradient = torch::zeros_like(start);
  torch::Tensor y = start.detach().clone().requires_grad_();
  const auto evaluate = [&](const torch::Tensor& at) {
    const std::unique_ptr<PointDerivatives> point = derivatives->at(batch, x, at);
    const double value = point->value();
    gradient.zero_();
    point->gradient({}, {&gradient});
    return value;
  };
  evaluate(torch::zeros_like(gradient));
  const double tolerance = options.gradient_tolerance * gradient.abs().max().item<double>();
  y.mutable_grad() = gradient;
  torch::optim::LBFGS lbfgs({y}, torch::optim::LBFGSOptions(1)
                                     .max_iter(options.iterations)
                                     .history_size(8)
                                     .tolerance_grad(tolerance)
                                     .tolerance_change(1e-12)
                                     .line_search_fn("strong_wolfe"));
  int64_t evaluations = 0;
  lbfgs.step([&] {
    const bool going = !options.go_on || options.go_on(evaluations++);
    const double value = evaluate(y.detach());
    if (!going) gradient.zero_();  // the search ends
    return torch::tensor(value, torch::kFloat64);
  });
  return y.detach();
}

}  // namespace bilevel
