// A solver of your own in a program of your own: the library stays as it is.
#include <bilevel/bilevel.h>

#include <cmath>
#include <iostream>

// [shown]
#include <bilevel/hypergrad/implicit.h>
#include <bilevel/linear/cg/cg.h>
#include <bilevel/solver/parts/single_loop.h>

struct NormalizedDescentOptions {
  double upper_step_size = 0.1;
  int64_t lower_steps = 10;
  void fields(bilevel::Fields& f) {
    f.number("upper_step_size", upper_step_size, bilevel::kPositive, "length of the first step on x");
    f.integer("lower_steps", lower_steps, bilevel::kAtLeastOne, "steps of length 0.1 on y an iteration");
  }
};

/// Exact steps of length eta/sqrt(k) against the hypergradient.
class NormalizedDescent : public bilevel::SolverWith<NormalizedDescentOptions> {
 public:
  using SolverWith::SolverWith;
  std::string name() const override { return "normalized-descent"; }
  void start(bilevel::Oracles&, int64_t) override { bilevel::fields_of(options_).validate(); }
  bilevel::StepReport step(bilevel::Oracles& oracles) override {
    for (int64_t n = 0; n < options_.lower_steps; ++n)
      oracles.y().add(oracles.lower().gradient_in_y(oracles.lower().draw("lower_batches")), -0.1);
    auto [upper, lower] =
        oracles.points(oracles.upper().draw("upper_batches"), oracles.lower().draw("linear_batches"));
    const auto hessian = bilevel::point_hessian(lower);
    const bilevel::Hypergradient g = bilevel::implicit_hypergradient(
        oracles, upper, lower, [&](const auto& b) { return bilevel::conjugate_gradients(hessian, b); });
    bilevel::normalized_step(oracles, g.value, options_.upper_step_size / std::sqrt(++k_));
    return {.upper_loss = g.upper_loss, .hypergradient = g.value, .linear_residual = g.linear.residual};
  }
  void state(bilevel::State& state) override { state.value("k", k_); }

 private:
  int64_t k_ = 0;
};
// [shown]

int main() {
  // min over x of 1/2 ||y*(x) - 3||^2 with y*(x) = 2 x: the solution is 3/2.
  const torch::Tensor x = torch::zeros({4}, torch::kFloat64).requires_grad_();
  const torch::Tensor y = torch::zeros({4}, torch::kFloat64).requires_grad_();
  const bilevel::Problem problem{
      .upper = {.parameters = {x},
                .loss = [&](const bilevel::Batch&) { return 0.5 * (y - 3).square().sum(); },
                .batches = bilevel::no_data()},
      .lower = {.parameters = {y},
                .loss = [&](const bilevel::Batch&) { return 0.5 * (y - 2 * x).square().sum(); },
                .batches = bilevel::no_data()}};
  // By name, with options as text, as programs choose solvers; `NormalizedDescent solver({.upper_step_size = 0.3});`
  // serves `run` as well.
  bilevel::solver_registry().add({.name = "normalized-descent",
                                  .summary = "exact steps of length eta/sqrt(k) against the hypergradient",
                                  .make = [] { return std::make_unique<NormalizedDescent>(); },
                                  .movement = bilevel::Movement::normalized});
  const std::unique_ptr<bilevel::Solver> solver = bilevel::make_solver("normalized-descent");
  bilevel::fields_of(*solver).set_text("upper_step_size=0.3");
  const bilevel::Result result = bilevel::run(problem, *solver, {.max_steps = 300});
  std::cout << result.brief() << "\n";
  return (x - 1.5).abs().max().item<double>() < 0.02 ? 0 : 1;
}
