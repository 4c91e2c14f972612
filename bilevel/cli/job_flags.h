// The flags that the jobs on data share.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <string>

#include "bilevel/task/job/job.h"

namespace bilevel::cli {

/// Names of the groups in the help.
inline constexpr const char* kDataGroup = "Data";
inline constexpr const char* kModelGroup = "Model and training";
inline constexpr const char* kOutputGroup = "Output";

/// --header and --no-header.
struct HeaderFlags {
  bool header = false, no_header = false;
};

/// How a run is shown to a person or a program.
struct Presentation {
  bool json = false;          ///< exactly one JSON object on standard output
  bool quiet = false;         ///< no progress; errors still go to standard error
  std::string score = "AUC";  ///< what the passes evaluate; "-loss": scores are losses with the sign turned
};

/// --out, --resume, --json and --quiet.
struct OutputFlags {
  std::string out, resume;
  Presentation how;
};

/// --text, --features, --categorical, --label, --format, --header, --no-header.
void add_column_flags(CLI::App& command, JobOptions& options, HeaderFlags& header);
/// --encoder, --hidden, --layers, --embedding, --train-embedding, --l2, --batch-size, --threads, --device.
void add_model_flags(CLI::App& command, JobOptions& options, const std::string& l2_help);
/// --solver, --set, --epochs, --steps, --max-seconds, --seed.
void add_training_flags(CLI::App& command, JobOptions& options);
/// --out, --resume, --json, --quiet.
void add_output_flags(CLI::App& command, OutputFlags& flags);

/// "automatic", "yes" or "no". Throws InputError when both flags were given.
std::string header_of(const HeaderFlags& flags);

/// Runs a job with progress on standard error and the result on standard output; returns the exit code.
int show_job(const std::string& command, const std::function<JobResult(const JobCallbacks&)>& job,
             const Presentation& how, const std::string& out);

/// The body of a job's command: starts a run in --out (default ./bilevel-COMMAND-N), or continues the one of
/// --resume, beside which only --json and --quiet may be given (InputError).
int run_or_resume(const CLI::App& command, const OutputFlags& flags,
                  const std::function<JobResult(const std::string& out, const JobCallbacks&)>& run,
                  const std::function<JobResult(const std::string& out, const JobCallbacks&)>& resume);

}  // namespace bilevel::cli
