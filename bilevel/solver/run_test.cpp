#include "bilevel/solver/run.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <fstream>
#include <future>
#include <thread>

#include "bilevel/core/error.h"
#include "bilevel/core/files.h"
#include "bilevel/core/safetensors.h"
#include "bilevel/solver/adambo/adambo.h"
#include "bilevel/task/p1/p1.h"
#include "bilevel/task/quadratic/quadratic.h"
#include "tests/problems.h"
#include "tests/support.h"

namespace bilevel {
namespace {

namespace fs = std::filesystem;

AdamBOOptions quick() { return {.upper_step_size = 0.05, .neumann_terms = 3, .warm_start_steps = 2}; }

/// Rows without their clock readings.
void expect_same_trace(const std::vector<TraceRow>& found, const std::vector<TraceRow>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].step, expected[i].step);
    EXPECT_EQ(found[i].upper_loss, expected[i].upper_loss) << "step " << expected[i].step;
    EXPECT_EQ(found[i].hypergradient_norm, expected[i].hypergradient_norm) << "step " << expected[i].step;
    EXPECT_EQ(found[i].linear_residual, expected[i].linear_residual) << "step " << expected[i].step;
    EXPECT_EQ(found[i].oracle_calls, expected[i].oracle_calls) << "step " << expected[i].step;
  }
}

std::vector<TraceRow> joined(std::vector<TraceRow> a, const std::vector<TraceRow>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

int64_t saved_step(const fs::path& checkpoint) {
  return load_safetensors(checkpoint.string()).tensors.at("step").item<int64_t>();
}

// ---- checkpoints ----

class Resume : public ::testing::TestWithParam<AdamBOOptions> {
 protected:
  static constexpr int64_t kSteps = 8;

  /// Continues from a checkpoint with a new problem object of other values, a new solver and another seed.
  Result resume(const Ridge& ridge, RunOptions options) const {
    AdamBO solver(GetParam());
    options.resume = true;
    options.seed = 12345;
    return run(ridge.problem(), solver, options);
  }
  TemporaryFolder folder_;
};

TEST_P(Resume, AtEveryStepEqualsTheUninterruptedRun) {
  const Ridge whole;
  AdamBO whole_solver(GetParam());
  const Result expected = run(whole.problem(), whole_solver, {.max_steps = kSteps, .seed = 3});
  ASSERT_EQ(expected.steps, kSteps);
  for (int64_t k = 0; k <= kSteps; ++k) {
    const fs::path checkpoint = folder_ / fmt::format("stopped{}", k);
    std::atomic<bool> interrupt = k == 0;
    RunOptions options{.max_steps = kSteps, .seed = 3, .interrupt = &interrupt, .checkpoint = checkpoint};
    options.callback = [&](const MadeStep& row, Oracles&) { return row.step != k; };
    const Ridge first;
    AdamBO first_solver(GetParam());
    const Result before = run(first.problem(), first_solver, options);
    ASSERT_EQ(before.steps, k);
    EXPECT_EQ(before.reason, k == 0 ? StopReason::interrupted : StopReason::stopped_by_callback);

    const Ridge second(0.7);
    const Result after = resume(second, {.max_steps = kSteps, .checkpoint = checkpoint});
    EXPECT_EQ(after.reason, StopReason::max_steps);
    EXPECT_EQ(after.steps, kSteps);
    EXPECT_TRUE(torch::equal(second.x, whole.x)) << "stopped after step " << k;
    EXPECT_TRUE(torch::equal(second.y, whole.y)) << "stopped after step " << k;
    expect_same_trace(joined(before.trace, after.trace), expected.trace);
    EXPECT_EQ(after.oracle_calls.steps, expected.oracle_calls.steps);
    EXPECT_EQ(after.oracle_calls.warm_start, expected.oracle_calls.warm_start);
    EXPECT_EQ(after.chosen, expected.chosen);
    if (!before.trace.empty()) {
      EXPECT_GE(after.seconds, before.trace.back().seconds) << "the clock goes on";
    }
  }
}

TEST_P(Resume, FromWhateverCheckpointAKilledRunLeft) {
  const Ridge whole;
  AdamBO solver(GetParam());
  RunOptions options{.max_steps = kSteps, .seed = 3, .checkpoint = folder_ / "live", .checkpoint_seconds = 0};
  // What lies there when step k has just ended is what a kill at that moment leaves.
  options.callback = [&](const MadeStep& row, Oracles&) {
    fs::copy_file(folder_ / "live", folder_ / fmt::format("killed{}", row.step));
    return true;
  };
  const Result expected = run(whole.problem(), solver, options);
  for (int64_t k = 1; k <= kSteps; ++k) {
    const fs::path checkpoint = folder_ / fmt::format("killed{}", k);
    EXPECT_EQ(saved_step(checkpoint), k - 1) << "one checkpoint a step, the first before step 1";
    const Ridge second(0.7);
    const Result after = resume(second, {.max_steps = kSteps, .checkpoint = checkpoint});
    EXPECT_TRUE(torch::equal(second.x, whole.x));
    EXPECT_TRUE(torch::equal(second.y, whole.y));
    expect_same_trace(after.trace, {expected.trace.begin() + k - 1, expected.trace.end()});
  }
}

INSTANTIATE_TEST_SUITE_P(Variants, Resume,
                         ::testing::Values(quick(),
                                           AdamBOOptions{.neumann_terms = 2,
                                                         .lower_rule = LowerStep::adam,
                                                         .lower_steps = 2,
                                                         .samples = Samples::shared},
                                           AdamBOOptions{.lower_step_size = 0.1,
                                                         .neumann_step_size = 0.1,
                                                         .order = Order::gauss_seidel,
                                                         .schedule = "cosine"}));

TEST(Checkpoint, AFinishedRunIsFinishedAtOnceAndALongerOneGoesOn) {
  const TemporaryFolder folder;
  const Ridge longer;
  AdamBO longer_solver(quick());
  run(longer.problem(), longer_solver, {.max_steps = 9, .seed = 3});
  const Ridge ridge;
  AdamBO solver(quick());
  run(ridge.problem(), solver, {.max_steps = 5, .seed = 3, .checkpoint = folder / "c"});
  const torch::Tensor x = ridge.x.detach().clone();
  const Result again =
      run(ridge.problem(), solver, {.max_steps = 5, .checkpoint = folder / "c", .resume = true});
  EXPECT_EQ(again.reason, StopReason::max_steps);
  EXPECT_EQ(again.steps, 5);
  EXPECT_TRUE(again.trace.empty());
  EXPECT_TRUE(torch::equal(ridge.x, x));
  run(ridge.problem(), solver, {.max_steps = 9, .checkpoint = folder / "c", .resume = true});
  EXPECT_TRUE(torch::equal(ridge.x, longer.x));
}

TEST(Checkpoint, HoldsTheCallersVariablesAndText) {
  const TemporaryFolder folder;
  const Ridge ridge;
  int64_t best_step = 0;
  RunOptions options{.max_steps = 4, .checkpoint = folder / "c", .checkpoint_metadata = {{"note", "mine"}}};
  options.task_state = [&](State& state) { state.value("best_step", best_step); };
  options.callback = [&](const MadeStep& row, Oracles&) {
    best_step = 10 * row.step;
    return row.step < 2;
  };
  AdamBO solver(quick());
  run(ridge.problem(), solver, options);
  EXPECT_EQ(load_safetensors((folder / "c").string()).metadata.at("note"), "mine");
  best_step = -1;
  options.resume = true;
  options.callback = [&](const MadeStep& row, Oracles&) {
    if (row.step == 3) {
      EXPECT_EQ(best_step, 20);
    }
    return true;
  };
  EXPECT_EQ(run(ridge.problem(), solver, options).steps, 4);
}

class BrokenCheckpoint : public ::testing::Test {
 protected:
  void SetUp() override {
    AdamBO solver(quick());
    run(ridge_.problem(), solver, {.max_steps = 3, .checkpoint = folder_ / "c"});
  }
  template <typename Exception>
  std::string refusal(const AdamBOOptions& solver_options = quick()) {
    const torch::Tensor x = ridge_.x.detach().clone();
    const std::string before = fs::exists(folder_ / "c") ? read_file((folder_ / "c").string()) : "";
    AdamBO solver(solver_options);
    const std::string message = message_of<Exception>([&] {
      run(ridge_.problem(), solver, {.max_steps = 5, .checkpoint = folder_ / "c", .resume = true});
    });
    EXPECT_TRUE(torch::equal(ridge_.x, x)) << "x was changed";
    if (fs::exists(folder_ / "c")) {
      EXPECT_EQ(read_file((folder_ / "c").string()), before);
    }
    return message;
  }
  TemporaryFolder folder_;
  Ridge ridge_;
};

TEST_F(BrokenCheckpoint, OfOtherOptionsIsRefused) {
  AdamBOOptions other = quick();
  other.momentum_weight = 0.2;
  const std::string message = refusal<FileError>(other);
  EXPECT_CONTAINS(message, "its options is");
  EXPECT_CONTAINS(message, "\"momentum_weight\":0.2");
}

TEST_F(BrokenCheckpoint, OfAnotherThreadCountIsRefused) {
  const int threads = at::get_num_threads();
  at::set_num_threads(threads + 1);
  const std::string message = refusal<FileError>();
  at::set_num_threads(threads);
  EXPECT_CONTAINS(message, "its threads is " + std::to_string(threads));
}

TEST_F(BrokenCheckpoint, OfAnotherProblemIsRefused) {
  const Quadratic other({.upper_size = 7});
  AdamBO solver(quick());
  const RunOptions options{.max_steps = 5, .checkpoint = folder_ / "c", .resume = true};
  EXPECT_CONTAINS(message_of<FileError>([&] { run(other.problem(), solver, options); }),
                  "variable has 3 numbers");
  Problem fewer_rows = ridge_.problem();
  fewer_rows.lower.batches =
      shuffled({ridge_.train.narrow(0, 0, 6)}, ridge_.train_target.narrow(0, 0, 6), {.batch_size = 5});
  EXPECT_CONTAINS(message_of<FileError>([&] { run(fewer_rows, solver, options); }), "12 rows");
}

TEST_F(BrokenCheckpoint, ThatIsMissingCutOrDamagedIsRefused) {
  const std::string path = (folder_ / "c").string();
  const std::string bytes = read_file(path);
  for (const size_t length : {size_t{0}, size_t{7}, size_t{100}, bytes.size() / 2, bytes.size() - 1}) {
    std::ofstream(path, std::ios::binary) << bytes.substr(0, length);
    EXPECT_CONTAINS(refusal<FileError>(), path);
  }
  std::ofstream(path, std::ios::binary) << bytes << "more";
  EXPECT_CONTAINS(refusal<FileError>(), path);
  std::string broken_header = bytes;
  broken_header[20] = '}';
  std::ofstream(path, std::ios::binary) << broken_header;
  EXPECT_CONTAINS(refusal<FileError>(), path);
  auto [tensors, metadata] = [&] {
    std::ofstream(path, std::ios::binary) << bytes;
    return load_safetensors(path);
  }();
  tensors.erase("solver/adam/m");
  save_safetensors(path, tensors, metadata);
  EXPECT_CONTAINS(refusal<FileError>(), "solver/adam/m");
  save_safetensors(path, {{"a", torch::zeros({1})}});
  EXPECT_CONTAINS(refusal<FileError>(), "its solver is not known");
  fs::remove(path);
  EXPECT_CONTAINS(refusal<InputError>(), "there is no such file");
}

TEST(Checkpoint, AnImpossiblePlaceIsSaidBeforeAnyStep) {
  const TemporaryFolder folder;
  const Ridge ridge;
  AdamBO solver(quick());
  int steps = 0;
  RunOptions options{.max_steps = 3, .checkpoint = folder / "missing" / "c"};
  options.callback = [&](const MadeStep&, Oracles&) { return ++steps > 0; };
  EXPECT_THROW(run(ridge.problem(), solver, options), FileError);
  EXPECT_EQ(steps, 0);
}

// ---- why a run ends ----

TEST(Run, DoesAllStepsAndShowsThemToTheCallback) {
  const Ridge ridge;
  AdamBO solver(quick());
  std::vector<TraceRow> seen;
  torch::Tensor x_seen, y_seen;
  RunOptions options{.max_steps = 7, .trace_every = 3};
  options.callback = [&](const MadeStep& row, Oracles& oracles) {
    seen.push_back(row.row());
    x_seen = oracles.x().flat().clone();
    y_seen = oracles.y().flat().clone();
    return true;
  };
  const Result result = run(ridge.problem(), solver, options);
  EXPECT_EQ(result.reason, StopReason::max_steps);
  EXPECT_EQ(result.steps, 7);
  ASSERT_EQ(seen.size(), 7u);
  for (size_t i = 0; i < seen.size(); ++i) {
    EXPECT_EQ(seen[i].step, static_cast<int64_t>(i) + 1);
    if (i > 0) {
      EXPECT_GE(seen[i].seconds, seen[i - 1].seconds);
    }
  }
  EXPECT_TRUE(torch::equal(x_seen, ridge.x)) << "after x and y have moved";
  EXPECT_TRUE(torch::equal(y_seen, ridge.y));
  expect_same_trace(result.trace, {seen[2], seen[5], seen[6]});
  EXPECT_EQ(result.oracle_calls.steps, seen.back().oracle_calls);
  EXPECT_EQ(result.oracle_calls.warm_start, (OracleCounts{.lower_gradient = 2, .lower_samples = 10}));
  EXPECT_GT(result.oracle_calls.automatic.hvp, 0);
  EXPECT_EQ(result.solver, "adambo");
  EXPECT_EQ(result.options["neumann_terms"], 3);
  EXPECT_EQ(result.options["lower_step_size"], "auto");
  EXPECT_GT(result.chosen["lower_step_size"].get<double>(), 0);
  EXPECT_CONTAINS(result.brief(), "adambo: 7 steps in ");
  EXPECT_CONTAINS(result.brief(), "(max_steps)");
}

TEST(Run, NoStepsChangeNothing) {
  const Ridge ridge(0.3);
  AdamBO solver({.warm_start_steps = 0});
  const Result result = run(ridge.problem(), solver, {.max_steps = 0});
  EXPECT_EQ(result.reason, StopReason::max_steps);
  EXPECT_EQ(result.steps, 0);
  EXPECT_TRUE(result.trace.empty());
  EXPECT_EQ(distance(ridge.x, torch::full({3}, 0.3, torch::kFloat64)), 0);
  EXPECT_EQ(distance(ridge.y, torch::full({3}, 0.3, torch::kFloat64)), 0);
}

TEST(Run, StopsWhenTheHypergradientIsSmall) {
  const P1 p1(3, 1.0);
  AdamBO solver({.upper_step_size = 0.02});
  double norm = HUGE_VAL;
  RunOptions options{.max_steps = 5000, .hypergradient_tolerance = 1e-3};
  options.callback = [&](const MadeStep& row, Oracles&) {
    norm = row.row().hypergradient_norm;
    return true;
  };
  const Result result = run(p1.problem(), solver, options);
  EXPECT_EQ(result.reason, StopReason::converged) << result.message;
  EXPECT_LT(result.steps, 5000);
  EXPECT_LE(norm, 1e-3) << "the callback saw the last step";
  EXPECT_EQ(result.trace.back().step, result.steps);
  EXPECT_GT(result.trace[result.trace.size() - 2].hypergradient_norm, 1e-3);
}

TEST(Run, StopsWhenTheTimeIsOver) {
  const Ridge ridge;
  AdamBO solver(quick());
  RunOptions options{.max_steps = 100000, .max_seconds = 0.1};
  options.callback = [](const MadeStep&, Oracles&) {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    return true;
  };
  const Result result = run(ridge.problem(), solver, options);
  EXPECT_EQ(result.reason, StopReason::max_seconds);
  EXPECT_GE(result.seconds, 0.1);
  EXPECT_LE(result.steps, 4) << "four callbacks take 0.12 s";
  EXPECT_EQ(result.trace.size(), static_cast<size_t>(result.steps));
}

TEST(Run, StopsWhenItsCallbackSaysSo) {
  const TemporaryFolder folder;
  const Ridge ridge;
  AdamBO solver(quick());
  RunOptions options{.max_steps = 100, .trace_every = 50, .checkpoint = folder / "c"};
  options.callback = [](const MadeStep& row, Oracles&) { return row.step < 4; };
  const Result result = run(ridge.problem(), solver, options);
  EXPECT_EQ(result.reason, StopReason::stopped_by_callback);
  EXPECT_EQ(result.steps, 4);
  ASSERT_EQ(result.trace.size(), 1u);
  EXPECT_EQ(result.trace[0].step, 4) << "the last row is kept whatever trace_every";
  EXPECT_EQ(saved_step(folder / "c"), 4);
}

TEST(Run, StopsWhenInterrupted) {
  const TemporaryFolder folder;
  const Ridge ridge;
  AdamBO solver(quick());
  std::atomic<bool> interrupt = false;
  RunOptions options{.max_steps = 100, .interrupt = &interrupt, .checkpoint = folder / "c"};
  options.callback = [&](const MadeStep& row, Oracles&) {
    if (row.step == 3) interrupt = true;
    return true;
  };
  const Result result = run(ridge.problem(), solver, options);
  EXPECT_EQ(result.reason, StopReason::interrupted);
  EXPECT_EQ(result.steps, 3);
  EXPECT_EQ(saved_step(folder / "c"), 3);
}

/// Moves x by -1 a step; its second step reports a failed linear solve, and an upper loss if given one.
class Failing : public Solver {
 public:
  explicit Failing(torch::Tensor upper_loss = {}) : upper_loss_(std::move(upper_loss)) {}
  std::string name() const override { return "failing"; }
  void fields(Fields&) override {}
  void start(Oracles&, int64_t) override {}
  StepReport step(Oracles& oracles) override {
    if (++t_ == 2)
      return {.upper_loss = upper_loss_,
              .hypergradient = {},
              .linear_residual = {},
              .failure = "the lower Hessian is singular"};
    oracles.x().add(torch::ones_like(oracles.x().flat()), -1);
    return {.upper_loss = torch::zeros({}),
            .hypergradient = torch::ones({1}),
            .linear_residual = {},
            .failure = ""};
  }
  void state(State& state) override { state.value("t", t_); }

 private:
  torch::Tensor upper_loss_;
  int64_t t_ = 0;
};

TEST(Run, NamesTheLossThatIsNotFiniteWhenTheLinearSolveFailsForIt) {
  const Ridge ridge;
  for (const double loss : {1.0, static_cast<double>(NAN)}) {
    Failing solver(torch::tensor(loss));
    const Result result = run(ridge.problem(), solver, {.max_steps = 5});
    EXPECT_EQ(result.reason, std::isnan(loss) ? StopReason::nonfinite : StopReason::linear_solve_failed);
    EXPECT_EQ(result.steps, 2);
  }
}

TEST(Run, StopsWhenTheLinearSolveFails) {
  const TemporaryFolder folder;
  const Ridge ridge;
  Failing solver;
  const Result result =
      run(ridge.problem(), solver, {.max_steps = 5, .checkpoint = folder / "c", .checkpoint_seconds = 0});
  EXPECT_EQ(result.reason, StopReason::linear_solve_failed);
  EXPECT_EQ(result.message, "step 2: the lower Hessian is singular");
  EXPECT_EQ(distance(ridge.x, torch::full({3}, -1.0, torch::kFloat64)), 0);
  EXPECT_EQ(saved_step(folder / "c"), 1) << "the last good checkpoint stays";
  AdamBO other(quick());
  const RunOptions resume{.max_steps = 5, .checkpoint = folder / "c", .resume = true};
  EXPECT_CONTAINS(message_of<FileError>([&] { run(ridge.problem(), other, resume); }),
                  "its solver is failing");
}

// ---- numbers that are not finite ----

class Nonfinite : public ::testing::TestWithParam<double> {};

TEST_P(Nonfinite, UpperLossKeepsTheLastGoodCheckpoint) {
  const TemporaryFolder folder;
  const Ridge ridge;
  AdamBO solver(quick());
  // The upper loss is evaluated by the probe, for the objective at the start and once a step: the seventh is step 5.
  const Result result =
      run(ridge.spoiled(7, GetParam()), solver,
          {.max_steps = 20, .seed = 3, .checkpoint = folder / "c", .checkpoint_seconds = 0});
  EXPECT_EQ(result.reason, StopReason::nonfinite);
  EXPECT_EQ(result.message, "the upper loss is not finite at step 5");
  EXPECT_EQ(result.steps, 5);
  EXPECT_EQ(result.trace.size(), 5u);
  EXPECT_EQ(saved_step(folder / "c"), 4);
  const Ridge healthy;
  run(healthy.problem(), solver, {.max_steps = 8, .checkpoint = folder / "c", .resume = true});
  const Ridge whole;
  run(whole.problem(), solver, {.max_steps = 8, .seed = 3});
  EXPECT_TRUE(torch::equal(healthy.x, whole.x)) << "the checkpoint is that of an untroubled run";
}

INSTANTIATE_TEST_SUITE_P(Values, Nonfinite, ::testing::Values(NAN, HUGE_VAL, -HUGE_VAL));

TEST(Nonfinite, EveryQuantityIsWatched) {
  const auto message = [](const Problem& problem, const AdamBOOptions& options) {
    AdamBO solver(options);
    const Result result = run(problem, solver, {.max_steps = 3000});
    EXPECT_EQ(result.reason, StopReason::nonfinite) << result.message;
    return result.message;
  };
  const Ridge ridge;
  // Finite loss, infinite gradient: d/dx sqrt(x) at 0.
  Problem cusp = ridge.problem();
  cusp.upper.loss = [x = ridge.x, f = cusp.upper.loss](const Batch& b) {
    return f(b) + x.abs().sqrt().sum();
  };
  EXPECT_CONTAINS(message(cusp, quick()), "the hypergradient is not finite at step 1");
  // A lower step size beyond 2/l: y diverges. The upper loss sees y only one step later.
  const Quadratic diverging({});
  EXPECT_CONTAINS(message(diverging.problem(), {.lower_step_size = 1e300, .neumann_step_size = 1}),
                  "is not finite at step");
  const Quadratic far({});
  EXPECT_CONTAINS(
      message(far.problem(), {.upper_step_size = 1e200, .lower_step_size = 1, .neumann_step_size = 1}),
      "is not finite at step");
}

TEST(Nonfinite, AnAutomaticStepSizeWithoutCurvatureIsTheCallersBusiness) {
  const Ridge ridge;
  Problem flat = ridge.problem();
  flat.lower.loss = [x = ridge.x, y = ridge.y](const Batch&) { return (x * y).sum(); };
  AdamBO solver(quick());
  EXPECT_CONTAINS(message_of<InputError>([&] { run(flat, solver, {.max_steps = 3}); }),
                  "lower_step_size = auto");
}

// ---- what is refused, and what is left alone ----

TEST(Run, RefusesImpossibleOptionsByName) {
  const Ridge ridge;
  AdamBO solver(quick());
  const auto refusal = [&](const RunOptions& options) {
    return message_of<InputError>([&] { run(ridge.problem(), solver, options); });
  };
  EXPECT_EQ(refusal({.max_steps = -1}), "max_steps = -1: must be >= 0");
  EXPECT_EQ(refusal({.max_seconds = 0}), "max_seconds = 0: must be > 0");
  EXPECT_CONTAINS(refusal({.max_seconds = NAN}), "max_seconds = nan");
  EXPECT_EQ(refusal({.hypergradient_tolerance = -1}), "hypergradient_tolerance = -1: must be >= 0");
  EXPECT_EQ(refusal({.trace_every = 0}), "trace_every = 0: must be >= 1");
  EXPECT_CONTAINS(refusal({.checkpoint_seconds = NAN}), "checkpoint_seconds = nan");
  EXPECT_EQ(refusal({.resume = true}), "resume needs the path of a checkpoint");
}

TEST(Run, RefusesImpossibleSolverOptionsBeforeAnyStep) {
  const std::vector<std::pair<AdamBOOptions, std::string>> cases{
      {{.upper_step_size = 0}, "upper_step_size = 0"},
      {{.lower_step_size = -1.0}, "lower_step_size = -1"},
      {{.neumann_step_size = NAN}, "neumann_step_size = nan"},
      {{.neumann_terms = 0}, "neumann_terms = 0"},
      {{.warm_start_steps = -1}, "warm_start_steps = -1"},
      {{.momentum_weight = 0}, "momentum_weight = 0"},
      {{.second_moment_weight = 1.5}, "second_moment_weight = 1.5"},
      {{.epsilon = 0}, "epsilon = 0"},
      {{.lower_rule = LowerStep(2)}, "lower_rule = 2"},
      {{.lower_steps = 0}, "lower_steps = 0"},
      {{.order = Order(2)}, "order = 2"},
      {{.samples = Samples(2)}, "samples = 2"},
      {{.schedule = "linear"}, "schedule = linear"},
      {{.lower_schedule = "cosine:2"}, "lower_schedule = cosine:2"},
  };
  AdamBOOptions defaults;
  EXPECT_EQ(cases.size(), fields_of(defaults).list().size()) << "every field once";
  for (const auto& [options, expected] : cases) {
    const TemporaryFolder folder;
    const Ridge ridge;
    AdamBO solver(options);
    EXPECT_CONTAINS(message_of<InputError>(
                        [&] { run(ridge.problem(), solver, {.max_steps = 3, .checkpoint = folder / "c"}); }),
                    expected);
    EXPECT_EQ(distance(ridge.x, torch::zeros({3}, torch::kFloat64)), 0);
    EXPECT_EQ(distance(ridge.y, torch::zeros({3}, torch::kFloat64)), 0);
    EXPECT_FALSE(fs::exists(folder / "c"));
  }
}

TEST(Run, UnusedParametersAreErrorsOrWarnings) {
  const Ridge ridge;
  Problem problem = ridge.problem();
  problem.upper.parameters.push_back(torch::zeros({2}, torch::kFloat64).requires_grad_());
  problem.upper.parameters.names.push_back("idle");
  AdamBO solver(quick());
  EXPECT_CONTAINS(message_of<InputError>([&] { run(problem, solver, {.max_steps = 2}); }), "'idle'");
  const Result result = run(problem, solver, {.max_steps = 2, .unused_parameters = UnusedParameters::warn});
  EXPECT_EQ(result.steps, 2);
  ASSERT_EQ(result.warnings.size(), 1u);
  EXPECT_CONTAINS(result.warnings[0], "'idle'");
}

TEST(Run, LeavesTheDefaultGeneratorAlone) {
  torch::manual_seed(92);
  const torch::Tensor expected = torch::rand({2});
  torch::manual_seed(92);
  const Ridge ridge;
  AdamBO solver(quick());
  run(ridge.problem(), solver, {.max_steps = 3});
  EXPECT_TRUE(torch::equal(torch::rand({2}), expected));
}

TEST(Run, DoesNotDependOnTheDefaultGenerator) {
  std::vector<torch::Tensor> ends;
  for (const uint64_t seed : {1, 2}) {
    torch::manual_seed(seed);
    const Ridge ridge;
    AdamBO solver(quick());
    run(ridge.problem(), solver, {.max_steps = 3});
    ends.push_back(ridge.x.detach().clone());
  }
  EXPECT_TRUE(torch::equal(ends[0], ends[1]));
}

TEST(Run, InSeveralThreadsGivesWhatItGivesAlone) {
  const auto end_of_noisy_run = [](uint64_t seed) {
    const Ridge ridge;  // its dropout draws from LibTorch's default generator
    AdamBO solver(quick());
    run(ridge.problem(), solver, {.max_steps = 300, .seed = seed});
    return ridge.x.detach().clone();
  };
  const std::vector<torch::Tensor> alone{end_of_noisy_run(1), end_of_noisy_run(2)};
  EXPECT_FALSE(torch::equal(alone[0], alone[1]));
  std::vector<std::future<torch::Tensor>> together;
  for (const uint64_t seed : {1, 2}) {
    together.push_back(std::async(std::launch::async, end_of_noisy_run, seed));
  }
  for (size_t i = 0; i < 2; ++i) EXPECT_TRUE(torch::equal(together[i].get(), alone[i]));
}

/// g = 1/2 ||y - x||^2 + c, f = 1/2 ||y - 3||^2.
struct Shifted {
  torch::Tensor x = torch::zeros({2}, torch::kFloat64).requires_grad_();
  torch::Tensor y = torch::zeros({2}, torch::kFloat64).requires_grad_();
  torch::Tensor c = torch::zeros({}, torch::kFloat64);

  Problem problem() const {
    return {
        .upper = {.parameters = {x},
                  .loss = [y = y](const Batch&) { return 0.5 * (y - 3).square().sum(); },
                  .batches = no_data()},
        .lower = {.parameters = {y},
                  .loss = [x = x, y = y, c = c](const Batch&) { return 0.5 * (y - x).square().sum() + c; },
                  .batches = no_data()}};
  }
};

TEST(Run, ALossThatIsNotFiniteStopsItThoughItsGradientsAre) {
  const Shifted shifted;
  AdamBO solver(quick());
  const Result result =
      run(shifted.problem(), solver, {.max_steps = 9, .callback = [&](const MadeStep& row, Oracles&) {
                                        if (row.step == 3) shifted.c.fill_(std::nan(""));
                                        return true;
                                      }});
  EXPECT_EQ(result.reason, StopReason::nonfinite);
  EXPECT_EQ(result.message, "the lower loss is not finite at step 4");
  EXPECT_TRUE(shifted.x.isfinite().all().item<bool>());
  EXPECT_FALSE(result.usable());
}

TEST(Run, AnEvaluationMayMeetWhatIsNotFinite) {
  const Shifted shifted;
  AdamBO solver(quick());
  const Result result =
      run(shifted.problem(), solver, {.max_steps = 4, .callback = [&](const MadeStep&, Oracles& oracles) {
                                        shifted.c.fill_(std::nan(""));
                                        oracles.full_losses();
                                        shifted.c.zero_();
                                        return true;
                                      }});
  EXPECT_EQ(result.reason, StopReason::max_steps) << result.message;
}

TEST(Run, TellsTheObjectivesAtItsStartAndEnd) {
  const Shifted shifted;
  shifted.c.fill_(5);
  AdamBO solver(quick());
  const Result result = run(shifted.problem(), solver, {.max_steps = 50});
  EXPECT_EQ(result.start.upper, 9);
  EXPECT_EQ(result.start.lower, 5);
  EXPECT_EQ(result.end.upper, (0.5 * (shifted.y - 3).square().sum()).item<double>());
  EXPECT_LT(result.end.upper, result.start.upper);
  EXPECT_TRUE(result.usable());
  const nlohmann::ordered_json json = result.json();
  EXPECT_EQ(json.at("solver"), "adambo");
  EXPECT_EQ(json.at("stop_reason"), "max_steps");
  EXPECT_EQ(json.at("start").at("upper"), 9);
  EXPECT_EQ(json.at("steps"), 50);
  EXPECT_EQ(json.at("oracle_calls").at("steps").at("upper_gradient"), 50);
}

TEST(Run, TheObjectivesOfAResumedRunAreThoseOfTheWhole) {
  const TemporaryFolder folder;
  const auto start_and_end = [&](int64_t steps, const std::string& checkpoint, bool resume) {
    const Ridge ridge;
    AdamBO solver(quick());
    const Result result = run(ridge.problem(), solver,
                              {.max_steps = steps,
                               .schedule_steps = 6,
                               .seed = 4,
                               .checkpoint = folder / checkpoint,
                               .resume = resume});
    return std::vector<double>{result.start.upper, result.start.lower, result.end.upper, result.end.lower};
  };
  const std::vector<double> whole = start_and_end(6, "whole", false);
  start_and_end(3, "parts", false);
  EXPECT_EQ(start_and_end(6, "parts", true), whole);
  EXPECT_NE(whole[0], whole[2]);
}

TEST(Run, GivesTheParametersBack) {
  const torch::Tensor x = torch::zeros({1}).requires_grad_();
  const torch::Tensor weight = torch::zeros({1000}).requires_grad_(),
                      bias = torch::zeros({1}).requires_grad_();
  const Problem problem{
      .upper = {.parameters = {x},
                .loss = [&](const Batch&) { return (weight.sum() + bias.sum() - 1).square(); },
                .batches = no_data()},
      .lower = {.parameters = {weight, bias},
                .loss =
                    [&](const Batch&) {
                      return squared_norm({weight - x, bias});
                    },
                .batches = no_data()}};
  AdamBO solver(quick());
  run(problem, solver, {.max_steps = 3});
  EXPECT_EQ(bias.storage().nbytes(), sizeof(float));
  EXPECT_EQ(weight.storage().nbytes(), 1000 * sizeof(float));
  EXPECT_NE(weight[0].item<float>(), 0);
}

TEST(Run, TheSameSolverObjectStartsAfresh) {
  AdamBO solver({.neumann_terms = 3, .lower_rule = LowerStep::adam});
  const Ridge first, second;
  const Result a = run(first.problem(), solver, {.max_steps = 4});
  const Result b = run(second.problem(), solver, {.max_steps = 4});
  expect_same_trace(b.trace, a.trace);
  EXPECT_TRUE(torch::equal(second.x, first.x));
}

TEST(SteppedRun, IsARunWhoseCallerAsksForTheSteps) {
  const Ridge whole, stepped;
  AdamBO solver(quick());
  const Result expected = run(whole.problem(), solver, {.max_steps = 4});
  const Problem problem = stepped.problem();
  SteppedRun steps(problem, solver, {.max_steps = 4});
  int64_t made = 0;
  while (steps.step()) ++made;
  EXPECT_EQ(made, 4);
  EXPECT_FALSE(steps.step());
  const Result found = steps.finish();
  expect_same_trace(found.trace, expected.trace);
  EXPECT_EQ(found.reason, StopReason::max_steps);
  EXPECT_EQ(found.end.upper, expected.end.upper);
}

TEST(SteppedRun, EndsWhereItsCallerEndsIt) {
  const TemporaryFolder folder;
  const Ridge ridge;
  AdamBO solver(quick());
  const Problem problem = ridge.problem();
  const RunOptions options{.max_steps = 4, .checkpoint = folder / "c"};
  Result found;
  {
    SteppedRun steps(problem, solver, options);
    EXPECT_TRUE(steps.step());
    found = steps.finish();
  }
  EXPECT_EQ(found.reason, StopReason::stopped_by_callback);
  EXPECT_EQ(found.steps, 1);
  EXPECT_EQ(saved_step(folder / "c"), 1);
}

TEST(Run, AnExceptionOfTheCallersPassesThrough) {
  const Ridge ridge;
  AdamBO solver(quick());
  RunOptions options{.max_steps = 3};
  options.callback = [](const MadeStep&, Oracles&) -> bool { throw std::runtime_error("mine"); };
  EXPECT_EQ(message_of<std::runtime_error>([&] { run(ridge.problem(), solver, options); }), "mine");
}

}  // namespace
}  // namespace bilevel
