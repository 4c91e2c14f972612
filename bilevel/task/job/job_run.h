// A job at work: its run, and its problem as a contest.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bilevel/task/compare/contest.h"
#include "bilevel/task/job/job_entry.h"

namespace bilevel {

/// As a contest: the data are read once, the parts are the same in all runs, and a run's seed draws initial values and
/// batches; solver, set, steps, epochs, max_seconds and what follows the training are not used.
class JobRun : public Contest {
 public:
  explicit JobRun(JobContext context) : context_(std::move(context)) {}
  /// See `Job::run`.
  virtual JobResult run() = 0;
  /// Called once, in place of `run`, before anything of the contest.
  virtual void prepare_contest() = 0;

  ContestFacts facts() const override;
  void check(Solver& solver) const override { check_single_precision(solver); }
  int64_t evaluations() const override { return 20; }
  nlohmann::ordered_json to_json() const override {
    return {{"kind", context_.command}, {"options", options().to_json()}};
  }

 protected:
  virtual const JobOptions& options() const = 0;  ///< resolved
  /// Fills in metrics and traits, and adds to the data.
  virtual void describe(ContestFacts& facts) const = 0;

  const JobContext context_;
};

/// The job of a run, which is made from options and a context.
template <typename Options, typename Run>
class JobOf : public Job {
 public:
  JobOptions& options() override { return options_; }
  JobResult run(const JobContext& context) override { return Run(options_, context).run(); }
  std::unique_ptr<Contest> contest(const JobContext& context) override {
    auto run = std::make_unique<Run>(options_, context);
    run->prepare_contest();
    return run;
  }

 private:
  Options options_;
};

/// An attempt whose result is that of the step which the job's rule (`StepRule`) chooses.
class ChoosingAttempt : public Attempt {
 public:
  nlohmann::ordered_json measure(int64_t step) override;
  nlohmann::ordered_json result(const std::vector<nlohmann::ordered_json>&) const override { return result_; }

 protected:
  /// What chooses the step, with the contest's measures as fields (null where there is none).
  virtual Evaluation evaluate() = 0;

 private:
  StepRule rule_;
  nlohmann::ordered_json result_;
};

}  // namespace bilevel
