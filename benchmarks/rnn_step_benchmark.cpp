// AdamBO steps on deep AUC with an rnn, for benchmarks/python_step.py, which makes the same in Python: prints milliseconds of
// processor time a step. Arguments: steps, and
// "told" where the constant lower Hessian is told.
#include <torch/torch.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "bilevel/problem/problem.h"
#include "bilevel/solver/adambo/adambo.h"
#include "bilevel/solver/run.h"

int main(int argc, char** argv) {
  using torch::Tensor;
  const int64_t steps = argc > 1 ? std::atoll(argv[1]) : 40;
  constexpr double kShare = 0.05;
  torch::set_num_threads(1);
  torch::manual_seed(0);
  const Tensor inputs = torch::randn({2000, 20, 50}),
               labels = (torch::rand({2000}) < kShare).to(torch::kFloat32);
  torch::nn::RNN rnn(torch::nn::RNNOptions(50, 256).batch_first(true));
  torch::nn::Linear head(256, 1);
  const Tensor a = torch::zeros({1}).requires_grad_(), b = torch::zeros({1}).requires_grad_(),
               alpha = torch::zeros({1}).requires_grad_();
  const bilevel::Loss loss = [&](const bilevel::Batch& batch) {
    const Tensor scores = head(std::get<0>(rnn(batch.input())).mean(1)).squeeze(1),
                 positive = batch.targets();
    const Tensor spread =
        (1 - kShare) * (scores - a).pow(2) * positive + kShare * (scores - b).pow(2) * (1 - positive);
    const Tensor gap = kShare * scores * (1 - positive) - (1 - kShare) * scores * positive;
    return (spread + 2 * alpha * gap).mean() + (2 * alpha - alpha.pow(2)).squeeze() * kShare * (1 - kShare);
  };
  bilevel::ParameterList upper(rnn->parameters());
  for (const Tensor& one : head->parameters()) upper.push_back(one);
  upper.push_back(a);
  upper.push_back(b);
  bilevel::Problem problem{
      .upper = {.parameters = upper, .loss = loss, .batches = bilevel::shuffled({inputs}, labels)},
      .lower = {.parameters = {alpha},
                .loss = [&](const bilevel::Batch& batch) { return -loss(batch); },
                .batches = bilevel::shuffled({inputs}, labels)}};
  if (argc > 2) problem.lower_hessian = [](const Tensor& v) { return 2 * kShare * (1 - kShare) * v; };
  bilevel::AdamBO solver(
      {.upper_step_size = 1e-3, .lower_step_size = 0.1, .neumann_step_size = 1, .neumann_terms = 10});
  std::clock_t begin = 0;
  bilevel::RunOptions options{.max_steps = steps + 5};
  options.callback = [&](const bilevel::MadeStep& made, bilevel::Oracles&) {
    if (made.step == 5) begin = std::clock();
    if (made.step == steps + 5)
      std::printf("%.6f\n", 1e3 * static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC /
                                static_cast<double>(steps));
    return true;
  };
  bilevel::run(problem, solver, options);
  return 0;
}
