#include "bilevel/glm/linear_model.h"

#include <gtest/gtest.h>

#include "bilevel/core/error.h"
#include "bilevel/core/streams.h"
#include "bilevel/solver/registry.h"
#include "bilevel/solver/run.h"
#include "tests/libtorch_counts.h"

namespace bilevel {
namespace {

TargetedRows rows_with_classes(int64_t rows, int64_t width, int64_t classes) {
  return {{torch::randn({rows, width}, torch::kFloat64)}, torch::randint(classes, {rows}, torch::kInt64)};
}

LinearModel model(LearnedBy x) {
  const DefaultGeneratorScope randomness(1);
  const TargetedRows train = rows_with_classes(60, 5, 3), valid = rows_with_classes(40, 5, 3);
  return linear_model(train, valid, 5,
                      {.loss = RowLoss::softmax,
                       .x = x,
                       .classes = 3,
                       .bias = true,
                       .strength = 0.1,
                       .batch_size = 16,
                       .x_start = -1,
                       .dtype = torch::kFloat64});
}

class EverySolver : public testing::TestWithParam<std::string> {};

TEST_P(EverySolver, GoesWhereItGoesByAutograd) {
  for (const LearnedBy x : {LearnedBy::feature_strengths, LearnedBy::class_strengths,
                            LearnedBy::common_strength, LearnedBy::row_weights}) {
    torch::Tensor at[2], lower[2];
    Result results[2];
    for (const bool by_hand : {false, true}) {
      LinearModel made = model(x);
      if (!by_hand) made.problem.upper.derivatives = made.problem.lower.derivatives = nullptr;
      const std::unique_ptr<Solver> solver = solver_registry().at(GetParam()).make();
      results[by_hand] = run(made.problem, *solver, {.max_steps = 25});
      at[by_hand] = made.x.detach().clone();
      lower[by_hand] = made.y.detach().clone();
    }
    EXPECT_LT((at[0] - at[1]).abs().max().item<double>(), 1e-10);
    EXPECT_LT((lower[0] - lower[1]).abs().max().item<double>(), 1e-10);
    EXPECT_EQ(results[0].oracle_calls.to_json(), results[1].oracle_calls.to_json());
    EXPECT_NEAR(results[0].trace.back().upper_loss, results[1].trace.back().upper_loss, 1e-10);
    EXPECT_NEAR(results[0].trace.back().linear_residual, results[1].trace.back().linear_residual, 1e-10);
    EXPECT_GT((at[0] + 1).abs().max().item<double>(), 1e-6) << "x did not move";
  }
}

std::vector<std::string> solver_names() {
  std::vector<std::string> names;
  for (const SolverEntry& entry : solver_registry()) names.push_back(entry.name);
  return names;
}
INSTANTIATE_TEST_SUITE_P(All, EverySolver, testing::ValuesIn(solver_names()), [](const auto& one) {
  std::string name = one.param;
  std::erase(name, '-');
  return name;
});

TEST(LinearModelTest, AStepAsksLibTorchForLittle) {
  const DefaultGeneratorScope randomness(1);
  const auto rows = [](int64_t n) {
    return TargetedRows{{torch::randn({n, 20})}, 2 * torch::randint(2, {n}).to(torch::kFloat32) - 1};
  };
  LinearModel made = linear_model(rows(3000), rows(3000), 20, {.batch_size = 10});
  const auto counts = [&](const std::string& name, const nlohmann::json& options) {
    Oracles oracles(made.problem, 1);
    const std::unique_ptr<Solver> solver = solver_registry().at(name).make();
    fields_of(*solver).from_json(options);
    solver->start(oracles, 1000);
    constexpr int64_t kSteps = 100;
    for (int64_t k = 0; k < 5; ++k) solver->step(oracles);
    const LibTorchCounts counted;
    for (int64_t k = 0; k < kSteps; ++k) solver->step(oracles);
    return std::pair{counted.calls_a_step(kSteps), counted.allocations_a_step(kSteps)};
  };
  // SOBA: grad_y g, the hypergradient, the residual, and two numbers for the trace.
  const auto [soba_calls, soba_allocations] = counts("soba", {{"samples", "shared"}});
  EXPECT_LE(soba_calls, 0.5);
  EXPECT_LE(soba_allocations, 5.5);
  // AdamBO with ten terms: a vector for each of nine products, and nine more, two of them by LibTorch.
  const auto [adambo_calls, adambo_allocations] = counts("adambo", {{"neumann_terms", 10}});
  EXPECT_LE(adambo_calls, 6);
  EXPECT_LE(adambo_allocations, 19);
}

TEST(LinearModelTest, RefusesWhatDoesNotFit) {
  const auto message = [](const TargetedRows& train, const LinearModelOptions& options) -> std::string {
    try {
      linear_model(train, train, 2, options);
    } catch (const InputError& error) {
      return error.what();
    }
    return "accepted";
  };
  const torch::Tensor a = torch::ones({3, 2});
  EXPECT_EQ(message({{a}, torch::tensor({1.0, -1.0, 0.0})}, {}),
            "target 0 of row 2: logistic takes -1 and 1");
  EXPECT_EQ(message({{a}, torch::tensor({0, 1, 2})}, {.loss = RowLoss::softmax, .classes = 2}),
            "target 2 of row 2: softmax takes classes 0 to 1");
  EXPECT_EQ(message({{a}, torch::ones({2})}, {}), "a linear model of 3 rows needs a target for each");
  EXPECT_NE(message({{torch::ones({3, 4})}, torch::ones({3})}, {}).find("width 2"), std::string::npos);
  EXPECT_NE(message({{torch::tensor({0, 2}), torch::ones({2}), torch::tensor({0, 2})}, torch::ones({1})}, {})
                .find("[0, 2)"),
            std::string::npos);
}

}  // namespace
}  // namespace bilevel
