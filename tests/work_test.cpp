// How much work a step is: passes, calls, operations, allocations, never seconds. Whoever lets a step do more must write the
// larger number here. How often a step waits for a device is in device_test.cpp.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "bilevel/core/streams.h"
#include "bilevel/glm/linear_model.h"
#include "bilevel/solver/registry.h"
#include "bilevel/solver/run.h"
#include "bilevel/task/auc/auc_model.h"
#include "bilevel/task/meta/meta_model.h"
#include "tests/libtorch_counts.h"
#include "tests/parameter_name.h"

namespace bilevel {
namespace {

constexpr int64_t kSteps = 24;  // a multiple of every period

/// Work a step, on average.
struct Work {
  double oracle_calls = 0;
  double operations = 0;     ///< of LibTorch
  double allocations = 0;    ///< of LibTorch
  double forward = 0;        ///< passes of the encoder with a graph
  double forward_alone = 0;  ///< without one
  double backward = 0;       ///< passes through the encoder
};

/// What the encoder was asked for.
struct Passes {
  int64_t forward = 0, forward_alone = 0, backward = 0;
};

Work work_of(const Problem& problem, Solver& solver, const std::shared_ptr<Passes>& passes = nullptr) {
  Oracles oracles(problem, 1);
  solver.start(oracles, 1000);
  solver.warm_start(oracles);
  for (int64_t k = 0; k < kSteps; ++k) solver.step(oracles);  // buffers are made, averages begun
  if (passes) *passes = {};
  const OracleCounts before = oracles.ledger().steps;
  const LibTorchCounts counted;
  for (int64_t k = 0; k < kSteps; ++k) solver.step(oracles);
  Work work{.operations = counted.calls_a_step(kSteps), .allocations = counted.allocations_a_step(kSteps)};
  OracleCounts calls = oracles.ledger().steps;
  calls -= before;
  work.oracle_calls = static_cast<double>(calls.calls()) / kSteps;
  if (!passes) return work;
  work.forward = static_cast<double>(passes->forward) / kSteps;
  work.forward_alone = static_cast<double>(passes->forward_alone) / kSteps;
  work.backward = static_cast<double>(passes->backward) / kSteps;
  return work;
}

struct Row {
  /// Oracle calls, LibTorch's operations and allocations on a linear model with its own derivatives.
  double calls, operations, allocations;
  /// Passes of an encoder of two layers below a scalar y: with a graph, without one, backward; operations and allocations.
  double forward, forward_alone, backward, deep_operations, deep_allocations;
};

/// Upper bounds.
const std::map<std::string, Row>& most() {
  static const std::map<std::string, Row> rows{
      {"accbo", {23, 4.5, 40, 2, 1, 2, 1940, 690}},      {"adambo", {12, 2.5, 17, 1, 1, 1, 1100, 390}},
      {"amigo", {22, 7.5, 46.5, 1, 10, 1, 3180, 1180}},  {"bo-rep", {4.5, 4.5, 9.5, 1, 2.5, 1, 1380, 490}},
      {"f2sa", {33, 6.5, 74.5, 3, 30, 3, 8740, 3210}},   {"ma-soba", {4, 0.5, 5.5, 1, 0, 1, 820, 280}},
      {"mrbo", {26, 3, 41, 2, 2, 2, 2170, 770}},         {"saba", {4, 10, 17, 2, 0, 2, 1010, 330}},
      {"sl-bamm", {6, 13.5, 13.5, 1, 0, 1, 960, 330}},   {"slip", {4, 4.5, 8.5, 1, 2, 1, 1270, 450}},
      {"soba", {4, 0.5, 5.5, 1, 0, 1, 820, 280}},        {"stocbio", {22, 4.5, 27.5, 1, 10, 1, 3180, 1160}},
      {"sustain", {15.25, 1.5, 28, 2, 2, 2, 2090, 740}}, {"ttsa", {7.625, 1.5, 11.5, 1, 1, 1, 1070, 370}},
      {"vr-adambo", {23, 23.5, 47, 2, 1, 2, 1970, 700}}, {"vrbo", {104, 28, 157.5, 8, 8, 8, 8730, 3090}},
  };
  return rows;
}

Work work_on_linear_model(Solver& solver) {
  const DefaultGeneratorScope randomness(1);
  const auto rows = [](int64_t n) {
    return TargetedRows{{torch::randn({n, 20})}, 2 * torch::randint(2, {n}).to(torch::kFloat32) - 1};
  };
  const LinearModel made = linear_model(rows(300), rows(300), 20, {.batch_size = 10});
  return work_of(made.problem, solver);
}

Work work_below_a_scalar(Solver& solver) {
  const DefaultGeneratorScope randomness(1);
  constexpr int64_t kRows = 60;
  std::vector<int64_t> all(kRows);
  std::iota(all.begin(), all.end(), 0);
  const AucModel model({.encoder = "mlp", .set = {{"hidden", 4}, {"layers", 1}}},
                       {.kind = InputKind::dense, .width = 5}, AucLoss{}, 1, 3, torch::kCPU);
  Problem problem = model.problem({.inputs = Inputs::dense(torch::randn({kRows, 5})),
                                   .labels = (torch::arange(kRows) % 4 == 0).to(torch::kFloat32),
                                   .upper = all,
                                   .lower = all},
                                  12);
  const auto passes = std::make_shared<Passes>();
  problem.encode = [encode = problem.encode, passes](const Batch& batch) {
    const torch::Tensor features = encode(batch);
    if (!features.requires_grad()) {
      ++passes->forward_alone;
    } else {
      ++passes->forward;
      features.register_hook([passes](const torch::Tensor&) { ++passes->backward; });
    }
    return features;
  };
  return work_of(problem, solver, passes);
}

class OfASolver : public testing::TestWithParam<SolverEntry> {};
INSTANTIATE_TEST_SUITE_P(Registry, OfASolver, testing::ValuesIn(solver_registry()), NameOfParameter());

TEST_P(OfASolver, WorkIsBounded) {
  const std::string& name = GetParam().name;
  const Work small = work_on_linear_model(*make_solver(name)), deep = work_below_a_scalar(*make_solver(name));
  const auto found = most().find(name);
  if (found == most().end()) {
    GTEST_SKIP() << fmt::format(
        "no bounds are known; it takes {{{:g}, {:g}, {:g}, {:g}, {:g}, {:g}, {:g}, {:g}}}",
        small.oracle_calls, small.operations, small.allocations, deep.forward, deep.forward_alone,
        deep.backward, deep.operations, deep.allocations);
  }
  const Row& row = found->second;
  EXPECT_LE(small.oracle_calls, row.calls);
  EXPECT_LE(small.operations, row.operations);
  EXPECT_LE(small.allocations, row.allocations);
  EXPECT_LE(deep.oracle_calls, row.calls);
  EXPECT_LE(deep.forward, row.forward);
  EXPECT_LE(deep.forward_alone, row.forward_alone);
  EXPECT_LE(deep.backward, row.backward);
  EXPECT_LE(deep.operations, row.deep_operations);
  EXPECT_LE(deep.allocations, row.deep_allocations);
}

void expect_kernels(const LibTorchCounts& counted, const std::string& encoder, bool fused) {
  if (encoder == "transformer") {
    EXPECT_EQ(counted.calls_of("aten::scaled_dot_product_attention") > 0, fused);
    EXPECT_EQ(counted.calls_of("aten::_scaled_dot_product_attention_math"), 0);
  } else {
    const char* gate = encoder == "rnn" ? "TanhBackward0" : "SigmoidBackward0";
    EXPECT_EQ(counted.calls_of(gate) > 0, !fused);
  }
}

// Where y is a scalar or a head, no second derivative passes through the encoder, which then takes the fused kernels:
// attention in one operation, and no operation for every gate of every time step.
TEST(Work, EncodersBelowTheHeadTakeTheFusedKernels) {
  constexpr int64_t kRows = 30, kWords = 9;
  std::vector<int64_t> ids, offsets{0}, all(kRows);
  std::iota(all.begin(), all.end(), 0);
  for (int64_t row = 0; row < kRows; ++row) {
    for (int64_t i = 0; i < 2 + row % 5; ++i) ids.push_back(2 + (row + i) % 7);
    offsets.push_back(static_cast<int64_t>(ids.size()));
  }
  const Inputs inputs = Inputs::tokens({torch::tensor(ids), offsets});
  const InputShape shape{.kind = InputKind::tokens, .width = kWords};
  TaskGroup group;
  for (int64_t c = 0; c < 3; ++c)
    group.classes.push_back({std::to_string(c), {all.begin() + 10 * c, all.begin() + 10 * c + 10}});
  const EpisodeSource source({group}, {.ways = 3, .shots = 2, .queries = 4}, "training", 1);
  for (const std::string encoder : {"rnn", "lstm", "gru", "transformer"}) {
    NetworkOptions network{.encoder = encoder, .set = {{"hidden", 4}, {"layers", 1}, {"dropout", 0.0}}};
    if (encoder == "transformer") network.set["heads"] = 2;
    const AucModel auc(network, shape, AucLoss{}, 1, 3, torch::kCPU);
    const MetaModel meta({.network = network, .head = HeadKind::shared, .l2 = 0.1}, shape, 3, 1, torch::kCPU);
    std::vector<int64_t> labels;
    for (const int64_t row : all) labels.push_back(row / 10);
    const Problem problems[] = {auc.problem({.inputs = inputs,
                                             .labels = (torch::arange(kRows) % 4 == 0).to(torch::kFloat32),
                                             .upper = all,
                                             .lower = all},
                                            12),
                                meta.problem({.inputs = inputs}, source, 2, 50, labels)};
    for (const Problem& problem : problems) {
      for (const std::string name : {"adambo", "soba", "f2sa"}) {
        SCOPED_TRACE(encoder + " " + name);
        Oracles oracles(problem, 1);
        const auto solver = make_solver(name);
        solver->start(oracles, 10);
        const LibTorchCounts counted;
        solver->step(oracles);
        expect_kernels(counted, encoder, /*fused=*/true);
      }
    }
    auc.network()->set_twice_differentiable(true);
    Oracles oracles(problems[0], 1);
    const LibTorchCounts counted;
    oracles.upper().point(oracles.upper().draw("test")).grad_x();
    expect_kernels(counted, encoder, /*fused=*/false);
  }
}

}  // namespace
}  // namespace bilevel
