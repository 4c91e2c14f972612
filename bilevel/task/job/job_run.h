// A job at work: what its run and its contest start from, and the contest.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bilevel/core/threads.h"
#include "bilevel/task/compare/contest.h"
#include "bilevel/task/job/job_data.h"
#include "bilevel/task/job/job_entry.h"
#include "bilevel/task/job/row_units.h"

namespace bilevel {

/// A job with its options resolved, its files read, its parts cut: what its run starts from, and a contest. A job's own
/// derives from it; its constructor makes a network once too, so that everything impossible is refused there
/// (InputError, FileError).
/// As a contest: the data are read once, the parts are the same in all runs, and a run's seed draws initial values and
/// batches; solver, set, steps, epochs, max_seconds and what follows the training are not used.
class JobSetup : public Contest {
 public:
  explicit JobSetup(JobContext context) : context_(std::move(context)) {}

  /// From now on it tells others where it stands: in a process that works for another.
  void tell(JobCallbacks callbacks) {
    context_.callbacks = std::move(callbacks);
    context_.phases = std::make_shared<Phases>(context_.callbacks.progress);
  }

  virtual const JobOptions& options() const = 0;  ///< resolved
  const JobContext& context() const { return context_; }
  const JobFiles& data_files() const { return files_; }
  /// What a person recognises a row by.
  std::string row_text(int64_t row) const { return files_.row_text(row, options().text); }
  std::string path(const std::string& name) const { return context_.path(name).string(); }

  /// Keeps a line that a reader of the result must know, once, and says it; nothing for an empty one.
  void note(const std::string& line, bool say = true);
  const std::vector<std::string>& notes() const { return notes_; }
  /// What was noted since the last call, also what stood there before.
  std::vector<std::string> latest_notes() { return std::exchange(latest_notes_, {}); }

  /// What a contest needs beyond the constructor; called once, before anything of it.
  virtual void prepare_contest() {}
  ContestFacts facts() const override;
  void check(Solver& solver) const override { check_single_precision(solver); }
  int64_t evaluations() const override { return 20; }
  nlohmann::ordered_json to_json() const override {
    return {{"kind", context_.command}, {"options", options().to_json()}};
  }
  /// Deals rows into `folds` folds of nearly equal size: the fold of each. What stays together in cuts does here.
  std::vector<int64_t> folds_of(const std::vector<int64_t>& rows, int64_t folds, uint64_t seed) const;
  /// The same folds, each with the rows outside of it; both in the order of `rows`.
  std::vector<Fold> cut_folds(const std::vector<int64_t>& rows, int64_t folds, uint64_t seed) const;
  /// Everything that is read.
  std::vector<std::string> files() const override { return files_.paths(options()); }

  /// Which rows stay together.
  const RowUnits& units() const { return units_; }
  /// Of these rows the number of their unit (`RowUnits::unit_of`), for intervals; empty where every row is one of its own.
  std::vector<int64_t> unit_numbers(const std::vector<int64_t>& rows) const;

 protected:
  /// Fills in metrics and traits, and adds to the data.
  virtual void describe(ContestFacts& facts) const = 0;
  /// Says so and reads the files that are given, by role; decides how the columns of the first are read, and with it text
  /// and encoder of the options where they are not given; says what it found: columns, labels, copies. `own`: see
  /// `JobFiles::plan`. `whole_groups`: whether the options' groups stay together in cuts. Where the options name a fold, its rows
  /// become the test file.
  void read(JobOptions& options, std::vector<std::pair<std::string, std::string>> files,
            ColumnChoice own = {}, bool whole_groups = true);
  /// Cuts the rows of the training file into the parts that have no file of their own: by the options' time, or at random,
  /// stratified by `classes` (of all rows). Rows that are the same in what is read, and groups, stay together; where equal rows
  /// leave a class fewer units than parts, a note says that they do not. See `part_shares` for the shares and the errors.
  /// `names` of the classes are for messages.
  RowParts cut_parts(const JobOptions& options, std::string& split, double valid_share,
                     const std::vector<int64_t>& classes, at::Generator& generator,
                     const std::vector<std::string>& names);
  /// Notes what later files hold that these features do not know.
  void note_unseen(const Features& features);
  /// The rows where training reads them (`bilevel::placed`); says so.
  Inputs placed(const Inputs& inputs) const;
  /// `JobOptions::resolve`, and the number of threads for as long as this lives.
  NetworkOptions resolve(JobOptions& options, const JobDefaults& defaults);

  JobContext context_;
  JobFiles files_;

 private:
  void tell_reading(const JobFile& file, const std::string& label);
  void tell_labels(const JobFile& file, const std::string& label);
  /// Notes where validation or test rows hold so few of a class that figures on them are mostly chance.
  void note_few_rows(const RowParts& parts, const std::vector<int64_t>& classes,
                     const std::vector<std::string>& names);
  /// Loads the options' sentence encoder, where there is one.
  void take_sentences(const JobOptions& options);
  void find_units(const JobOptions& options, bool whole_groups);
  void tell_units(const JobOptions& options);
  /// Gives the rows of the options' fold to the test file, which is the training file once more.
  void hold_out_fold(const JobOptions& options);
  std::vector<std::vector<int64_t>> cut(const JobOptions& options, const std::vector<double>& shares,
                                        const std::vector<int64_t>& classes, at::Generator& generator,
                                        const std::vector<std::string>& names);

  std::optional<ThreadCountScope> threads_;
  RowUnits units_;
  std::vector<std::string> notes_, latest_notes_;
};

/// The job of its options, and of a setup that is made from these and a context and `run`.
template <typename Options, typename Setup>
class JobOf : public Job {
 public:
  explicit JobOf(JobResult (*run_job)(Setup& setup)) : run_(run_job) {}

  JobOptions& options() override { return options_; }
  JobResult run(const JobContext& context) override {
    Setup setup(options_, context);
    return run_(setup);
  }
  std::unique_ptr<JobSetup> setup(const JobContext& context) override {
    return std::make_unique<Setup>(options_, context);
  }
  std::unique_ptr<Contest> contest(const JobContext& context) override {
    auto setup = std::make_unique<Setup>(options_, context);
    setup->prepare_contest();
    return setup;
  }

 protected:
  Options options_;

 private:
  JobResult (*run_)(Setup& setup);
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
