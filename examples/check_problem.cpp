// Before a solver runs: is the hypergradient of this problem right? Ridge regression with one penalty a
// feature, chosen on held-out rows.
#include <bilevel/bilevel.h>
#include <torch/torch.h>

#include <iostream>

int main() {
  torch::manual_seed(1);
  const auto f64 = torch::kFloat64;
  const auto rows = torch::randn({120, 6}, f64);
  const auto target = rows.matmul(torch::randn({6}, f64)) + 0.5 * torch::randn({120}, f64);
  const auto train = rows.slice(0, 0, 80), train_target = target.slice(0, 0, 80);
  const auto valid = rows.slice(0, 80), valid_target = target.slice(0, 80);

  // [shown]
  const auto penalty = torch::zeros({6}, torch::kFloat64).requires_grad_();
  const auto weights = torch::zeros({6}, torch::kFloat64).requires_grad_();
  const auto loss = [&](const bilevel::Batch& b) {
    return (b.input().matmul(weights) - b.targets()).square().mean();
  };
  const bilevel::Problem problem{
      .upper = {.parameters = {{"penalty", penalty}},
                .loss = loss,
                .batches = bilevel::shuffled({valid}, valid_target)},
      .lower = {
          .parameters = {{"weights", weights}},
          .loss = [&](const bilevel::Batch& b) { return loss(b) + (penalty.exp() * weights.square()).sum(); },
          .batches = bilevel::shuffled({train}, train_target)}};
  const bilevel::CheckReport report = bilevel::check(problem);
  std::cout << report.table();
  // [shown]
  return report.ok ? 0 : 1;
}
