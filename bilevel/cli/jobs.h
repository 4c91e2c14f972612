// The commands of the jobs, and how a run of one is shown.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bilevel/task/compare/contest.h"
#include "bilevel/task/job/job_entry.h"

namespace bilevel::cli {

/// How a run is shown to a person or a program.
struct Presentation {
  bool json = false;   ///< exactly one JSON object on standard output
  bool quiet = false;  ///< on standard error nothing but warnings and errors
};

/// --quiet.
CLI::Option* add_quiet_flag(CLI::App& command, Presentation& how);

struct OutputFlags {
  std::string out, resume;
  bool force = false;
  Presentation how;
};

/// --out, --force, --resume, --json and --quiet.
void add_output_flags(CLI::App& command, OutputFlags& flags, const std::string& out_meaning);

/// Whether --resume was given. Throws InputError for anything beside it but --json, --quiet, --jobs and --replot.
bool resumes(const CLI::App& command);

/// Throws InputError for --force without --out: a free folder replaces nothing.
void check_force(const OutputFlags& flags);

/// Shows the end of a command on standard output: its JSON, or its text. With --quiet and no --json the summary's warnings too,
/// on standard error.
void show_result(const nlohmann::ordered_json& summary, const std::string& text, const Presentation& how);

/// Runs a job with progress on standard error and the result on standard output; returns the exit code. `out` may be
/// empty: nothing is kept.
int show_job(const JobEntry& entry, const std::function<JobResult(const JobCallbacks&)>& job,
             const Presentation& how, const std::string& out);

/// A subcommand that takes a job's data and model, but does not train as the job does.
struct JobCommand {
  const JobEntry* entry = nullptr;
  CLI::App* command = nullptr;
  std::shared_ptr<GivenFlags> given = std::make_shared<GivenFlags>();

  std::unique_ptr<Contest> contest(uint64_t seed,
                                   const std::function<void(const std::string&)>& message) const;
};

/// Adds one for every job; the options of `command` may stand behind it too.
std::vector<JobCommand> add_job_commands(CLI::App& command);

/// The one that was given; null when none was.
const JobCommand* parsed(const std::vector<JobCommand>& commands);

}  // namespace bilevel::cli
