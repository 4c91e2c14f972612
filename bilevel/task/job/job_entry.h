// A job as the command line, the comparisons and the tests see it; the list of all jobs.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bilevel/core/registry.h"
#include "bilevel/task/describe/describe.h"
#include "bilevel/task/job/job.h"

namespace bilevel {

class Contest;
class JobSetup;

/// A job with its options, before it runs.
class Job {
 public:
  virtual ~Job() = default;
  virtual JobOptions& options() = 0;
  /// Does all the work: reads, trains, measures, writes. The folder is made after everything impossible has been refused.
  /// Throws InputError (also when the folder holds another run) and FileError.
  virtual JobResult run(const JobContext& context) = 0;
  /// What its run starts from; throws as `run` does. For what cuts its rows and runs it on some of them.
  virtual std::unique_ptr<JobSetup> setup(const JobContext& context) = 0;
  /// The problem that it trains, for `compare` and `check`, with its measurements; of the context command and message
  /// count. Throws as `run` does.
  virtual std::unique_ptr<Contest> contest(const JobContext& context) = 0;

  void fields(Fields& fields) { options().fields(fields); }
};

/// As a file of predictions: standard output.
inline constexpr const char* kStandardOutput = "-";

/// New rows and where their predictions go.
struct PredictRequest {
  std::string model;       ///< the folder of a run
  std::string input, out;  ///< out: a file, or `kStandardOutput`
  std::string shots;       ///< labelled rows, for a model that is adapted to some; else empty
  ReadOptions read;
  std::string device = "cpu";         ///< see `device_named`
  std::string sentence_encoder = {};  ///< of a model that has one; empty: where the training found it
  std::vector<std::string> keep =
      {};  ///< columns of the input that are copied in front of the predictions; "all": all
  int64_t explain =
      0;  ///< inputs of each row that are told with their shares in its prediction (see `explanation_column`)
  bool strict = false;  ///< refuse cells and labels that the model cannot read
};

struct Prediction {
  nlohmann::ordered_json summary;  ///< the object of `--json`
  std::string text;                ///< lines for a person, without the summary's warnings
  std::string table = {};          ///< what was not written to a file, since `out` is `kStandardOutput`
};

/// The figure on the test rows by which a job's runs are judged.
struct JobMeasure {
  std::string
      pointer;       ///< where the summary has it: "/metrics/test/auc"; `difference` of a baseline is of it
  std::string name;  ///< for a person: "test AUC"
  bool lower_is_better = false;  ///< else it is a share, from 0 to 1
};

/// One job. Its folder bilevel/task/<name>/ defines `JobEntry <name>_entry()` in <name>.cpp.
struct JobEntry {
  std::string name;                            ///< the command
  std::string summary;                         ///< one line
  std::string first_try;                       ///< its arguments in an example
  std::string score;                           ///< what the passes evaluate, for the line of progress
  bool score_is_loss = false;                  ///< the evaluations' scores are losses with the sign turned
  std::function<std::unique_ptr<Job>()> make;  ///< with default options
  /// Writes predictions, tab-separated, by a model that this job has saved. Throws InputError and FileError.
  std::function<Prediction(const PredictRequest& request)> predict;
  bool predicts_from_shots = false;  ///< its models need `PredictRequest::shots`
  bool linear = false;               ///< it takes linear encoders only
  bool in_parts = false;             ///< some of its work can be done side by side (`JobInParts`)
  std::optional<JobMeasure> measure = std::nullopt;  ///< none: its runs are not cross-validated
  const char* tested = "predictions.tsv";  ///< the table of a run with a line for each that was tested
  /// What `data describe` suggests for a file with classes: flags behind those of file and columns (" --ways 5"), and why;
  /// nothing where the job does not fit.
  std::function<std::optional<Suggestion>(const DataDescription&)> suggest = nullptr;
};

/// All jobs. One that is added is known to the command line, `predict`, `compare` and `check` of the program that adds it.
Registry<JobEntry>& job_registry();

/// The contest of a job. `message` gets lines for a person.
std::unique_ptr<Contest> contest_of(const JobEntry& entry, Job& job,
                                    const std::function<void(const std::string&)>& message = nullptr);

/// Runs a job (or its cross-validation, see cross_validation.h) in the new folder `out`, `jobs` of its parts at a time (see `JobContext`), in copies of this process: with
/// more than one call it before autograd has run here. The files do not depend on it, apart from times. `force`: see
/// `new_run_folder`.
JobResult start_job(const JobEntry& entry, Job& job, const std::string& out,
                    const JobCallbacks& callbacks = {}, const std::optional<int64_t>& jobs = 1,
                    bool force = false);

/// Continues the run in `out` bit for bit, or returns its summary when it had finished. Throws InputError when there is no
/// such run, an input file has changed, or another process works there, FileError when its files are broken.
JobResult resume_job(const JobEntry& entry, const std::string& out, const JobCallbacks& callbacks = {},
                     const std::optional<int64_t>& jobs = 1);

/// The options in an options.json of this job, or in a file that holds nothing else. Throws InputError for the options of
/// another command, FileError for a file that cannot be read.
nlohmann::json read_job_options(const JobEntry& entry, const std::string& path);

/// Predicts by the job that made the model. Throws InputError when there is no model, and for shots that it does not take
/// or lacks.
Prediction predict(const PredictRequest& request);

}  // namespace bilevel
