#include "bilevel/task/job/job.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <cmath>
#include <limits>

#include "bilevel/core/error.h"
#include "bilevel/solver/registry.h"
#include "bilevel/task/run_folder.h"

namespace bilevel {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

FolderLock JobContext::open(const JobOptions& options, const std::vector<std::string>& paths) const {
  const Json files = fingerprints(paths);
  if (resume) return continue_run_folder(out, files);
  return new_run_folder(out, command, callbacks.command_line,
                        {{"options", options.to_json()}, {"files", files}}, force);
}

Passes JobContext::passes(const std::string& part) const {
  const fs::path folder = part.empty() ? fs::path(out) : path(kPartsFolder) / part;
  if (!part.empty()) create_folder(folder.string());
  const fs::path checkpoint = folder / "checkpoint.safetensors";
  return Passes({.checkpoint = checkpoint,
                 .trace = folder / "trace.jsonl",
                 .resume = resume && fs::exists(checkpoint),
                 .interrupt = callbacks.interrupt,
                 .phases = phases,
                 .clock = clock});
}

std::unique_ptr<Solver> make_job_solver(const std::string& name,
                                        const std::map<std::string, nlohmann::json>& defaults,
                                        bool strongly_convex) {
  std::unique_ptr<Solver> solver = make_solver(name);
  const Fields fields = fields_of(*solver);
  if (strongly_convex) fields.from_json(solver_registry().at(name).strongly_convex_options);
  std::map<std::string, nlohmann::json> values = defaults;
  values.emplace("multiplier", 1);  // the automatic 2 l_f/mu would multiply the noise of single batches
  for (const auto& [option, value] : values) {
    const Field* field = fields.find(option);
    if (field != nullptr && (value != "auto" || field->type == "number|auto")) field->set(value);
  }
  return solver;
}

void set_options(Solver& solver, const std::vector<std::string>& assignments) {
  for (const std::string& assignment : assignments) {
    in_context(fmt::format("set = {}, solver '{}'", assignment, solver.name()),
               [&] { fields_of(solver).set_text(assignment); });
  }
}

void assign(Solver& solver, const std::vector<std::string>& assignments) {
  set_options(solver, assignments);
  check_single_precision(solver);
}

void check_single_precision(Solver& solver) {
  const Fields fields = fields_of(solver);
  for (const Field& field : fields.list()) {
    const nlohmann::json value = field.get();
    if (value.is_number() && std::abs(value.get<double>()) > std::numeric_limits<float>::max())
      refuse_option(field.name, value.dump(), "is too large for single precision");
  }
}

Json summary_of(const JobContext& context, const JobOptions& options, const Passes& passes) {
  const OracleLedger& calls = passes.oracle_calls();
  Json summary{{"command", context.command},
               {"solver", options.solver},
               {"encoder", options.encoder},
               {"seed", options.seed},
               {"steps", passes.steps()},
               {"seconds", context.clock->seconds()},
               {"training_seconds", passes.seconds()},
               {"stop_reason", name_of(passes.reason())},
               {"metrics", nullptr},
               {"oracle_calls", calls.steps.to_json()},
               {"oracle_calls_apart", calls.apart()},
               {"samples", calls.steps.samples()},
               {"solver_options", passes.solver_options()},
               {"chosen_step_sizes", passes.chosen_step_sizes()},
               {"warnings", passes.warnings()},
               {"peak_rss_bytes", peak_rss_bytes()},
               {"out", context.out},
               {"options", options.to_json()}};
  summary.update(*context.found);
  return summary;
}

void note_time(const JobContext& context, Json& summary) { summary["seconds"] = context.clock->seconds(); }

JobResult unfinished(const JobContext& context, const JobOptions& options, const Passes& passes) {
  JobResult result;
  result.summary = summary_of(context, options, passes);
  result.reason = passes.reason();
  result.message = passes.message();
  return result;
}

JobResult interrupted(const JobContext& context, const JobOptions& options, const Passes& passes,
                      const std::string& message) {
  JobResult result = unfinished(context, options, passes);
  result.reason = StopReason::interrupted;
  result.summary["stop_reason"] = name_of(result.reason);
  result.message = message;
  return result;
}

JobResult finished(const JobContext& context, const Passes& passes, Json summary, std::string text) {
  JobResult result;
  summary["peak_rss_bytes"] = peak_rss_bytes();
  write_file_atomically(context.path("summary.json").string(), summary.dump(2) + "\n");
  result.summary = std::move(summary);
  result.reason = passes.reason();
  result.message = passes.message();
  result.finished = true;
  result.text = std::move(text);
  return result;
}

std::string shortened(const std::string& text, size_t bytes) {
  if (text.size() <= bytes) return text;
  size_t end = bytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end) + "...";
}

int64_t peak_rss_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

}  // namespace bilevel
