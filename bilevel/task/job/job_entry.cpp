#include "bilevel/task/job/job_entry.h"

#include <fmt/format.h>

#include <filesystem>

#include "bilevel/core/device.h"
#include "bilevel/core/error.h"
#include "bilevel/core/files.h"
#include "bilevel/core/large_array.h"
#include "bilevel/data/idx_rows.h"
#include "bilevel/task/compare/contest.h"
#include "bilevel/task/job/cross_validation.h"
#include "bilevel/task/job/saved_model.h"
#include "bilevel/task/run_folder.h"

namespace bilevel {

std::unique_ptr<Contest> contest_of(const JobEntry& entry, Job& job,
                                    const std::function<void(const std::string&)>& message) {
  return job.contest({.command = entry.name, .callbacks = {.message = message}});
}

namespace {

/// The folder in which something is, or will be; none for none and for standard output.
std::string folder_beside(const std::string& out) {
  if (out.empty() || out == kStandardOutput) return "";
  std::filesystem::path folder = std::filesystem::absolute(out).parent_path();
  while (!std::filesystem::is_directory(folder) && folder.has_relative_path()) folder = folder.parent_path();
  return folder.string();
}

JobResult run_job(const JobEntry& entry, Job& job, const JobContext& context) {
  const JobOptions& o = job.options();
  return o.folds && !o.fold ? cross_validate(entry, job, context) : job.run(context);
}

}  // namespace

JobResult start_job(const JobEntry& entry, Job& job, const std::string& out, const JobCallbacks& callbacks,
                    const std::optional<int64_t>& jobs, bool force) {
  const LargeMemoryFolder large(folder_beside(out));
  return run_job(entry, job,
                 {.command = entry.name, .out = out, .callbacks = callbacks, .jobs = jobs, .force = force});
}

JobResult resume_job(const JobEntry& entry, const std::string& out, const JobCallbacks& callbacks,
                     const std::optional<int64_t>& jobs) {
  const nlohmann::ordered_json saved = read_run_options(out, entry.name);
  const JobContext context{
      .command = entry.name, .out = out, .callbacks = callbacks, .resume = true, .jobs = jobs};
  try {
    if (const auto path = context.path("summary.json"); std::filesystem::exists(path)) {
      return {.summary = nlohmann::ordered_json::parse(read_file(path.string())),
              .message = "this run had finished",
              .finished = true,
              .text = fmt::format("this run had finished\nreport: {}/report.html\n", out)};
    }
    const LargeMemoryFolder large(folder_beside(out));
    const std::unique_ptr<Job> job = entry.make();
    fields_of(*job).from_json(nlohmann::json(saved.at("options")));
    return run_job(entry, *job, context);
  } catch (const nlohmann::json::exception& error) {
    throw FileError(fmt::format("{}: {}", out, error.what()));
  }
}

nlohmann::json read_job_options(const JobEntry& entry, const std::string& path) {
  const nlohmann::json saved = nlohmann::json::parse(read_file(path), nullptr, /*allow_exceptions=*/false);
  if (!saved.is_object()) throw FileError(fmt::format("{}: is not a JSON object of options", path));
  if (!saved.contains("command")) return saved;
  if (saved["command"] != entry.name) {
    throw InputError(fmt::format("{}: holds options of the command {}, not of {}", path,
                                 saved["command"].dump(), entry.name));
  }
  return saved.value("options", nlohmann::json::object());
}

Prediction predict(const PredictRequest& request) {
  const JobEntry& entry = job_registry().at(command_of_model(request.model));
  if (entry.predicts_from_shots && request.shots.empty()) {
    throw InputError(
        fmt::format("a model of 'bilevel {}' needs labelled rows to adapt to (--shots)", entry.name));
  }
  if (!entry.predicts_from_shots && !request.shots.empty()) {
    throw InputError(fmt::format(
        "--shots is for a model that adapts to labelled rows; this one is of 'bilevel {}'", entry.name));
  }
  if (entry.predicts_from_shots && request.explain > 0)
    throw InputError(fmt::format("--explain: not offered for models of 'bilevel {}'", entry.name));
  std::vector<std::string> read = files_behind(request.input);
  if (!request.shots.empty()) read.push_back(request.shots);
  for (const auto& part : std::filesystem::recursive_directory_iterator(request.model))
    read.push_back(part.path().string());
  if (request.out != kStandardOutput) refuse_to_overwrite(request.out, read);
  device_named(request.device);
  const LargeMemoryFolder large(folder_beside(request.out));
  return entry.predict(request);
}

}  // namespace bilevel
