// A solver that a program adds at run time is found wherever solvers are chosen, and its traits give it the jobs' defaults.
#include "bilevel/solver/adambo/adambo.h"
#include "bilevel/solver/registry.h"
#include "bilevel/solver/slip/slip.h"
#include "bilevel/task/compare/comparison.h"
#include "bilevel/task/compare/known_contest.h"
#include "bilevel/task/job/job_entry.h"
#include "tests/support.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;

/// A solver of the library under another name.
template <typename Base>
class Own : public Base {
 public:
  explicit Own(std::string name) : name_(std::move(name)) {}
  std::string name() const override { return name_; }

 private:
  std::string name_;
};

class OwnSolver : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    solver_registry().add({.name = "own-adaptive",
                           .summary = "added at run time",
                           .make = [] { return std::make_unique<Own<AdamBO>>("own-adaptive"); },
                           .movement = Movement::adaptive});
    solver_registry().add({.name = "own-normalized",
                           .summary = "added at run time",
                           .make = [] { return std::make_unique<Own<SLIP>>("own-normalized"); },
                           .movement = Movement::normalized});
  }

  /// 120 rows of two columns in six classes.
  std::string table(const std::string& name = "table.csv", double shift = 0) const {
    std::string text = "a,b,label\n";
    for (int i = 0; i < 120; ++i) {
      text += std::to_string(i % 6 + 0.01 * i + shift) + "," + std::to_string((i * 7) % 11) + ",c" +
              std::to_string(i % 6) + "\n";
    }
    return folder_.write(name, text);
  }

  /// The step size on x of a finished run of the job.
  double step_of(const std::string& name, const Json& options, const std::string& solver) {
    const JobEntry& entry = job_registry().at(name);
    const std::unique_ptr<Job> job = entry.make();
    const Fields fields = fields_of(*job);
    fields.set(fields.list().front().name, table());
    fields.from_json({{"label", "label"}, {"solver", solver}, {"steps", 2}, {"threads", 1}});
    fields.from_json(options);
    const JobResult result = start_job(entry, *job, folder_.path("run" + std::to_string(++runs_)));
    return result.summary.at("solver_options").at("upper_step_size").get<double>();
  }

  TemporaryFolder folder_;
  int runs_ = 0;
};

TEST_F(OwnSolver, IsFoundByName) {
  EXPECT_EQ(make_solver("own-adaptive")->name(), "own-adaptive");
  EXPECT_CONTAINS(message_of<InputError>([] { make_solver("nobody"); }), "own-adaptive");
  EXPECT_EQ(message_of<InputError>([] { solver_registry().add({.name = "adambo"}); }),
            "there is a solver 'adambo' already");
}

TEST_F(OwnSolver, IsCompared) {
  KnownContest contest({.problem = "quadratic"});
  const CompareResult result =
      run_comparison(contest, {.competitors = parse_competitors("adambo,own-adaptive", {}), .seeds = 1},
                     folder_.path("compare"), {});
  EXPECT_TRUE(result.any_finished);
  EXPECT_CONTAINS(result.summary.dump(), "own-adaptive");
  EXPECT_EQ(parse_competitors("all", {}).size(), solver_registry().size());
}

TEST_F(OwnSolver, GetsTheJobsStepSizesByHowItMoves) {
  const Json clean{{"baselines", false}, {"trusted", table("trusted.csv", 0.003)}};
  EXPECT_EQ(step_of("clean", clean, "own-adaptive"), step_of("clean", clean, "adambo"));
  EXPECT_EQ(step_of("clean", clean, "own-normalized"), step_of("clean", clean, "slip"));
  const Json tune{{"baseline_passes", 0}, {"encoder", "mlp"}};
  EXPECT_EQ(step_of("tune", tune, "own-adaptive"), step_of("tune", tune, "adambo"));
  EXPECT_NE(step_of("tune", tune, "own-normalized"), step_of("tune", tune, "own-adaptive"));
  const Json meta{{"ways", 2},
                  {"shots", 2},
                  {"queries", 2},
                  {"train_classes", "c0,c1"},
                  {"valid_classes", "c2,c3"},
                  {"test_classes", "c4,c5"},
                  {"meta_batch", 2},
                  {"episodes", 4},
                  {"valid_episodes", 2},
                  {"test_episodes", 2},
                  {"baselines", "none"}};
  EXPECT_EQ(step_of("meta", meta, "own-adaptive"), step_of("meta", meta, "adambo"));
}

}  // namespace
}  // namespace bilevel
