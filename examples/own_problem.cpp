// A problem of your own: learn an encoder (upper level) such that a ridge-regularized head fitted on its
// features (lower level) does well on held-out rows. The data are two interleaved spirals.
#include <bilevel/bilevel.h>
#include <torch/torch.h>

#include <iostream>

int main() {
  torch::manual_seed(1);
  const auto t = torch::rand({600}) * 9 + 1;
  const auto label = torch::randint(2, {600});
  const auto angle = t + label * M_PI;
  const auto points =
      torch::stack({t * angle.cos(), t * angle.sin()}, 1) / 10 + 0.02 * torch::randn({600, 2});
  const auto train = points.slice(0, 0, 400), train_label = label.slice(0, 0, 400);
  const auto valid = points.slice(0, 400), valid_label = label.slice(0, 400);

  // [shown]
  using namespace torch::nn;
  Sequential encoder(Linear(2, 64), Tanh(), Linear(64, 64), Tanh());
  Linear head(64, 2);
  const auto loss = [&](const bilevel::Batch& b) {
    return functional::cross_entropy(head(encoder->forward(b.input())), b.targets());
  };
  bilevel::Problem problem{.upper = {.parameters = bilevel::named(*encoder),
                                     .loss = loss,
                                     .batches = bilevel::shuffled({valid}, valid_label, {.batch_size = 64})},
                           .lower = {.parameters = bilevel::named(*head),
                                     .loss =
                                         [&](const bilevel::Batch& b) {
                                           return loss(b) + 1e-2 * bilevel::squared_norm(head->parameters());
                                         },
                                     .batches = bilevel::shuffled({train}, train_label, {.batch_size = 64})}};
  bilevel::AdamBO solver({.upper_step_size = 3e-3, .lower_step_size = 0.05, .neumann_step_size = 0.05});
  const bilevel::Result result = bilevel::run(problem, solver, {.max_steps = 1500, .seed = 7});
  std::cout << result.brief() << "\n";
  // [shown]

  const auto predicted = head(encoder->forward(points)).argmax(1);
  const double accuracy = predicted.eq(label).to(torch::kFloat64).mean().item<double>();
  std::cout << "accuracy " << accuracy << "\n";
  return accuracy > 0.9 ? 0 : 1;
}
