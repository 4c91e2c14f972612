// What surrounds the training of every job: its folder, its solver, its watchers, its summary.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bilevel/core/files.h"
#include "bilevel/core/printable.h"
#include "bilevel/core/threads.h"
#include "bilevel/task/job/job_options.h"
#include "bilevel/task/job/passes.h"

namespace bilevel {

/// In the folder of a job: what its independent parts keep.
inline constexpr const char* kPartsFolder = "parts";

/// Who called a job, and how it tells where it stands; all may be empty.
struct JobCallbacks {
  std::function<void(const std::string&)> message;  ///< a line for a person
  std::function<void(const JobProgress&)> progress;
  const std::atomic<bool>* interrupt = nullptr;
  std::string command_line = {};  ///< for options.json and the report
};

/// How a run of a job ended.
struct JobResult {
  nlohmann::ordered_json summary;  ///< the object of `--json`
  StopReason reason = StopReason::max_steps;
  std::string message;
  bool finished = false;  ///< there is a model and a report
  std::string text;       ///< what a person reads at the end; lines
};

/// Where a job runs.
struct JobContext {
  std::string command;  ///< "auc", "clean", ...
  std::string out;      ///< its folder
  JobCallbacks callbacks;
  bool resume = false;
  /// What was found out about the files, for every summary: columns, labels. Shared by copies.
  std::shared_ptr<nlohmann::ordered_json> found = std::make_shared<nlohmann::ordered_json>();
  /// Independent parts that are made at a time (`JobParts`); none: as many as there are cores for.
  std::optional<int64_t> jobs = 1;
  bool force = false;  ///< a run that is in `out` already is replaced; see `new_run_folder`
  /// How far it is; moves `JobCallbacks::progress`. Shared by copies, as is the clock, which starts here.
  std::shared_ptr<Phases> phases = std::make_shared<Phases>(callbacks.progress);
  std::shared_ptr<RunClock> clock = std::make_shared<RunClock>();

  std::filesystem::path path(const std::string& name) const { return std::filesystem::path(out) / name; }
  void say(const std::string& line) const {
    if (callbacks.message) callbacks.message(printable(line));
  }
  /// Begins a phase, and says so.
  void begin(const std::string& phase, const std::string& line) const {
    say(line);
    phases->begin(phase, line);
  }
  bool interrupted() const { return callbacks.interrupt != nullptr && *callbacks.interrupt; }

  /// Makes the folder and writes `options`, resolved, and the files' fingerprints into options.json, or, when the job is
  /// resumed, checks that the files are what they were. The lock must live as long as the job. Call it after
  /// everything impossible has been refused. Throws as `new_run_folder` and `continue_run_folder` do.
  FolderLock open(const JobOptions& options, const std::vector<std::string>& files) const;

  /// Passes with checkpoint.safetensors and trace.jsonl in the folder, or in one of a part's own.
  Passes passes(const std::string& part = "") const;
};

/// A solver with a job's defaults for it; fields that it does not have are left out. `strongly_convex`: whether
/// the job's lower level is, so that a method whose defaults are its form for other cases takes its other form.
/// Throws InputError for an unknown name.
std::unique_ptr<Solver> make_job_solver(const std::string& name,
                                        const std::map<std::string, nlohmann::json>& defaults,
                                        bool strongly_convex);

/// Carries out assignments of --set. Throws InputError for an unknown field and an impossible value.
void set_options(Solver& solver, const std::vector<std::string>& assignments);
/// In a job; throws InputError for a number too large for single precision, too.
void assign(Solver& solver, const std::vector<std::string>& assignments);

/// Throws InputError for a number among the options that is too large for single precision.
void check_single_precision(Solver& solver);

/// The part of a summary that all jobs share: command, solver, encoder, seed, steps, seconds (of the run until now, by its
/// clock), training_seconds (of its passes), stop_reason, metrics (null), oracle_calls, oracle_calls_apart, samples, solver_options, chosen_step_sizes, warnings,
/// peak_rss_bytes, out, options, and what was found out about the files: columns (see `ColumnPlan::to_json`; null for files
/// without named ones) and labels (rows of each label of each file).
nlohmann::ordered_json summary_of(const JobContext& context, const JobOptions& options, const Passes& passes);

/// Notes the time that the run has taken by now: before the report is written, which shows it.
void note_time(const JobContext& context, nlohmann::ordered_json& summary);

/// The result of a job whose training came to no outcome.
JobResult unfinished(const JobContext& context, const JobOptions& options, const Passes& passes);
/// That of a job that was interrupted after its training, with a message.
JobResult interrupted(const JobContext& context, const JobOptions& options, const Passes& passes,
                      const std::string& message);

/// Writes summary.json, the last file of a job, and returns the finished result.
JobResult finished(const JobContext& context, const Passes& passes, nlohmann::ordered_json summary,
                   std::string text);

/// The first `bytes` of a text and "...", never cut inside a UTF-8 character; the whole of a shorter one.
std::string shortened(const std::string& text, size_t bytes);

/// The most memory that this process has held, in bytes.
int64_t peak_rss_bytes();

}  // namespace bilevel
