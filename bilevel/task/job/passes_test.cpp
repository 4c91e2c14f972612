#include "bilevel/task/job/passes.h"

#include <gtest/gtest.h>

#include "bilevel/solver/registry.h"
#include "tests/problems.h"
#include "tests/support.h"

namespace bilevel {
namespace passes_test {

TEST(StepRule, TakesTheLatestWithinOneStandardErrorOfTheBest) {
  StepRule rule;
  EXPECT_TRUE(rule.consider({0.7, 0.05}));
  EXPECT_TRUE(rule.consider({0.8, 0.02}));
  EXPECT_TRUE(rule.consider({0.79, 0.5}));  // within the error at the best, not its own
  EXPECT_FALSE(rule.consider({0.77, 0.5}));
  EXPECT_TRUE(rule.consider({0.8, 0.02}));
  EXPECT_FALSE(rule.consider({std::nan(""), 0}));
  StepRule exact;
  EXPECT_TRUE(exact.consider({1, 0}));
  EXPECT_FALSE(exact.consider({0.999, 0}));
}

TEST(StepRule, ComparesUnitByUnitWhereThereAreUnits) {
  StepRule rule;
  EXPECT_TRUE(rule.consider({0.6, 1, {0.4, 0.8}}));
  EXPECT_FALSE(rule.consider({0.5, 1, {0.3, 0.7}}));    // worse in both alike, whatever the other error
  EXPECT_TRUE(rule.consider({0.55, 0, {0.2, 0.9}}));    // -0.2 and +0.1: -0.05 +- 0.15
  EXPECT_FALSE(rule.consider({0.4, 0, {0.25, 0.55}}));  // -0.15 and -0.25: -0.2 +- 0.05
  EXPECT_TRUE(rule.consider({0.61, 0, {0.41, 0.81}}));
  EXPECT_FALSE(rule.consider({0.6, 1, {0.4, 0.8}}));
}

/// A job of two passes on a small problem; the second starts where the first chose to stop.
struct TwoPasses {
  explicit TwoPasses(const TemporaryFolder& folder, bool resume, const std::atomic<bool>* interrupt = nullptr)
      : passes({.checkpoint = folder.path("checkpoint.safetensors"),
                .trace = folder.path("trace.jsonl"),
                .resume = resume,
                .interrupt = interrupt}) {}

  /// False when it did not come to the end. `seen` is called at every evaluation of the second pass.
  bool run(const std::function<void()>& seen = nullptr) {
    const PassOutcome* first = one_pass("first", 40, [this] {
      const auto distance = static_cast<double>(std::abs(++evaluations - 6));
      return Evaluation{.score = -distance, .fields = {{"distance", distance}}};
    });
    if (first == nullptr) return false;
    const PassOutcome* second = one_pass("second", first->chosen_step, [&] {
      if (seen) seen();
      return Evaluation{.score = 0};
    });
    if (second == nullptr) return false;
    outcome = *second;
    return true;
  }

  const PassOutcome* one_pass(const std::string& name, int64_t steps,
                              const std::function<Evaluation()>& evaluate) {
    if (const PassOutcome* done = passes.finished(name)) return done;
    const Ridge ridge;
    const auto solver = make_solver("adambo");
    return passes.run({.name = name, .steps = steps, .evaluations = 10, .seed = 7}, ridge.problem(), *solver,
                      evaluate);
  }

  Passes passes;
  int evaluations = 0;
  PassOutcome outcome;
};

TEST(Passes, ChoosesAStepAndKeepsItsVariables) {
  const TemporaryFolder folder;
  TwoPasses job(folder, false);
  ASSERT_TRUE(job.run());
  const PassOutcome* first = job.passes.finished("first");
  EXPECT_EQ(first->steps, 40);
  EXPECT_EQ(first->chosen_step, 24);  // the sixth evaluation
  EXPECT_EQ(first->score, 0);
  EXPECT_EQ(job.outcome.steps, 24);
  EXPECT_EQ(job.passes.steps(), 64);
  // The second pass is the first one's start again, to the step that was chosen.
  EXPECT_EQ(distance(job.outcome.upper, first->upper), 0);
  EXPECT_EQ(distance(job.outcome.lower, first->lower), 0);
  EXPECT_EQ(job.passes.oracle_calls().steps.upper_gradient, 64);
  const Trace trace = read_trace(folder.path("trace.jsonl"));
  ASSERT_EQ(trace.rows.size(), 64U);
  EXPECT_EQ(trace.rows[23].at("distance"), 0);
  EXPECT_EQ(trace.rows[40].at("phase"), "second");
}

TEST(Passes, WithoutEvaluationsTheLastStepIsTheChosenOne) {
  const TemporaryFolder folder;
  TwoPasses job(folder, false);
  const PassOutcome* outcome = job.one_pass("only", 5, nullptr);
  ASSERT_NE(outcome, nullptr);
  EXPECT_EQ(outcome->chosen_step, 5);
  EXPECT_TRUE(std::isnan(outcome->score));
}

TEST(Passes, TheCheckpointKeepsTheTimeOfTheWholeRun) {
  const TemporaryFolder folder;
  std::atomic<bool> interrupt = false;
  const auto passes = [&](const std::shared_ptr<RunClock>& clock, bool resume) {
    return Passes({.checkpoint = folder.path("checkpoint.safetensors"),
                   .resume = resume,
                   .interrupt = &interrupt,
                   .clock = clock});
  };
  const auto first = std::make_shared<RunClock>(), second = std::make_shared<RunClock>();
  first->at_least(1000);  // of a long run
  Passes cut = passes(first, false);
  const Ridge ridge;
  const PassPlan plan{.name = "only", .steps = 20, .evaluations = 20};
  EXPECT_EQ(cut.run(plan, ridge.problem(), *make_solver("adambo"),
                    [&] {
                      interrupt = true;
                      return Evaluation{.score = 0};
                    }),
            nullptr);
  const Passes resumed = passes(second, true);
  EXPECT_GE(second->seconds(), 1000);
  EXPECT_LT(second->seconds(), 1500);
  EXPECT_LT(resumed.seconds(), 500) << "the time of the steps is counted apart";
}

TEST(Passes, TellThePhasesHowFarTheyAre) {
  const TemporaryFolder folder;
  std::vector<JobProgress> seen;
  std::atomic<bool> interrupt = false;
  const auto run = [&](bool resume) {
    const auto phases = std::make_shared<Phases>([&](const JobProgress& now) {
      seen.push_back(now);
      if (now.step == 10) interrupt = true;
    });
    Passes passes({.checkpoint = folder.path("checkpoint.safetensors"),
                   .resume = resume,
                   .interrupt = &interrupt,
                   .phases = phases});
    phases->plan({{"train", 3}, {"rest", 1}});
    phases->begin("train");
    const Ridge ridge;
    return passes.run({.name = "only", .shown = "training", .steps = 20}, ridge.problem(),
                      *make_solver("adambo"), [] { return Evaluation{.score = 2}; }) != nullptr;
  };
  EXPECT_FALSE(run(false));
  EXPECT_EQ(seen.back().phase, "training");
  EXPECT_EQ(seen.back().steps, 20);
  EXPECT_DOUBLE_EQ(seen.back().share, 0.375);
  EXPECT_EQ(seen.back().earlier, 0);
  EXPECT_EQ(seen.back().best, 2);
  EXPECT_TRUE(std::isfinite(seen.back().upper_loss));
  interrupt = false;
  EXPECT_TRUE(run(true));
  EXPECT_EQ(seen.back().step, 20);
  EXPECT_DOUBLE_EQ(seen.back().share, 0.75);
  EXPECT_DOUBLE_EQ(seen.back().earlier, 0.375);
}

TEST(Passes, ResumesBitForBitInAnyPass) {
  const TemporaryFolder whole_folder;
  TwoPasses whole(whole_folder, false);
  ASSERT_TRUE(whole.run());

  const TemporaryFolder folder;
  std::atomic<bool> interrupt = false;
  TwoPasses cut(folder, false, &interrupt);
  int seen = 0;
  EXPECT_FALSE(cut.run([&] { interrupt = ++seen == 3; }));
  EXPECT_EQ(cut.passes.reason(), StopReason::interrupted);
  EXPECT_EQ(cut.passes.message(), "interrupted after step 6 of 'second', 46 steps in all");

  TwoPasses resumed(folder, true);
  const PassOutcome* first = resumed.passes.finished("first");
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(distance(first->upper, whole.passes.finished("first")->upper), 0);
  ASSERT_TRUE(resumed.run());
  EXPECT_EQ(resumed.evaluations, 0);  // the first pass did not run again
  EXPECT_EQ(distance(resumed.outcome.upper, whole.outcome.upper), 0);
  EXPECT_EQ(distance(resumed.outcome.lower, whole.outcome.lower), 0);
  EXPECT_EQ(resumed.passes.steps(), whole.passes.steps());
  EXPECT_EQ(resumed.passes.oracle_calls().steps.to_json(), whole.passes.oracle_calls().steps.to_json());
  const Trace found = read_trace(folder.path("trace.jsonl")),
              expected = read_trace(whole_folder.path("trace.jsonl"));
  ASSERT_EQ(found.rows.size(), expected.rows.size());
  for (size_t i = 0; i < found.rows.size(); ++i)
    EXPECT_EQ(found.rows[i].at("upper_loss"), expected.rows[i].at("upper_loss")) << i;
}

TEST(Passes, AdoptedOnesAreAsIfMadeHere) {
  const TemporaryFolder whole_folder, folder, first_folder, second_folder;
  TwoPasses whole(whole_folder, false);
  ASSERT_TRUE(whole.run());

  TwoPasses first(first_folder, false), second(second_folder, false);
  ASSERT_NE(first.one_pass("first", 40, nullptr), nullptr);
  ASSERT_NE(second.one_pass("second", 24, nullptr), nullptr);
  Passes adopted({.trace = folder.path("trace.jsonl")});
  const auto sent = [](Passes& passes) {
    return nlohmann::ordered_json::from_cbor(nlohmann::ordered_json::to_cbor(passes.to_json()));
  };
  EXPECT_NE(adopted.adopt("first", sent(first.passes)), nullptr);
  const PassOutcome* outcome = adopted.adopt("second", sent(second.passes));
  ASSERT_NE(outcome, nullptr);
  EXPECT_EQ(distance(outcome->upper, whole.outcome.upper), 0);
  EXPECT_EQ(adopted.steps(), 64);
  EXPECT_EQ(adopted.seconds(), first.passes.seconds() + second.passes.seconds());
  EXPECT_EQ(adopted.oracle_calls().steps.to_json(), whole.passes.oracle_calls().steps.to_json());
  EXPECT_EQ(adopted.solver_options(), whole.passes.solver_options());
  EXPECT_EQ(adopted.chosen_step_sizes(), whole.passes.chosen_step_sizes());
  const Trace found = read_trace(folder.path("trace.jsonl")),
              expected = read_trace(whole_folder.path("trace.jsonl"));
  ASSERT_EQ(found.rows.size(), expected.rows.size());
  double seconds = 0;
  for (size_t i = 0; i < found.rows.size(); ++i) {
    EXPECT_EQ(found.rows[i].at("phase"), expected.rows[i].at("phase"));
    EXPECT_EQ(found.rows[i].at("upper_loss"), expected.rows[i].at("upper_loss")) << i;
    EXPECT_GE(found.rows[i].at("seconds").get<double>(), seconds);
    seconds = found.rows[i].at("seconds");
  }
  // One without an outcome.
  const Ridge ridge;
  const auto solver = make_solver("adambo");
  Passes broken(PassFiles{});
  EXPECT_EQ(broken.run({.name = "third", .steps = 9}, ridge.spoiled(4, std::nan("")), *solver), nullptr);
  EXPECT_EQ(adopted.adopt("third", sent(broken)), nullptr);
  EXPECT_EQ(adopted.reason(), StopReason::nonfinite);
}

TEST(Passes, SaysWhereItWasInterrupted) {
  const TemporaryFolder folder;
  std::atomic<bool> interrupt = false;
  int seen = 0;
  TwoPasses cut(folder, false, &interrupt);
  ASSERT_NE(cut.one_pass("first", 4, [&] { return interrupt = ++seen == 4, Evaluation{}; }), nullptr);
  EXPECT_EQ(cut.one_pass("second", 4, nullptr), nullptr);
  EXPECT_EQ(cut.passes.message(), "interrupted before the first step of 'second', 4 steps in all");
  const TemporaryFolder other;
  TwoPasses at_once(other, false, &interrupt);
  EXPECT_EQ(at_once.one_pass("first", 4, nullptr), nullptr);
  EXPECT_EQ(at_once.passes.message(), "interrupted before the first step");
}

TEST(Passes, ACheckpointOfAnotherPassIsRefused) {
  const TemporaryFolder folder;
  std::atomic<bool> interrupt = false;
  TwoPasses cut(folder, false, &interrupt);
  EXPECT_FALSE(cut.run([&] { interrupt = true; }));
  TwoPasses resumed(folder, true);
  EXPECT_CONTAINS(message_of<FileError>([&] { resumed.one_pass("third", 5, nullptr); }),
                  "was written in the pass 'second', but this run is in 'third'");
}

TEST(Passes, ANumberThatIsNotFiniteGivesNoOutcome) {
  const TemporaryFolder folder;
  Passes passes({.checkpoint = folder.path("checkpoint.safetensors")});
  const Ridge ridge;
  const auto solver = make_solver("adambo");
  EXPECT_EQ(passes.run({.name = "a", .steps = 9}, ridge.spoiled(4, std::nan("")), *solver), nullptr);
  EXPECT_EQ(passes.reason(), StopReason::nonfinite);
}

}  // namespace passes_test
}  // namespace bilevel
