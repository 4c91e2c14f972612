#include "bilevel/task/p1/p1.h"

#include <torch/types.h>

namespace bilevel {

P1::P1(int64_t size, double start) : P1(std::vector<double>(static_cast<size_t>(size), start)) {}

P1::P1(const std::vector<double>& start)
    : x(torch::tensor(start, torch::kFloat64).requires_grad_()),
      y(torch::zeros({static_cast<int64_t>(start.size())}, torch::kFloat64).requires_grad_()) {}

Problem P1::problem() const {
  const auto f = [*this](const Batch&) { return torch::cosh(c * x).sum() + b * torch::sin(y).sum(); };
  const auto g = [*this](const Batch&) { return 0.5 * mu * (y - a * x).square().sum(); };
  return {.upper = {.parameters = {x}, .loss = f, .batches = no_data(), .names = {"x"}},
          .lower = {.parameters = {y}, .loss = g, .batches = no_data(), .names = {"y"}}};
}

torch::Tensor P1::gradient(const torch::Tensor& at) const {
  return c * torch::sinh(c * at) + a * b * torch::cos(a * at);
}

}  // namespace bilevel
