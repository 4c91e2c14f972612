#include "bilevel/cli/jobs.h"

#include <fmt/format.h>

#include <iostream>

#include "bilevel/cli/command.h"
#include "bilevel/cli/field_flags.h"
#include "bilevel/core/error.h"
#include "bilevel/core/printable.h"
#include "bilevel/report/progress.h"
#include "bilevel/task/job/parts.h"

namespace bilevel::cli {
namespace {

struct JobArguments {
  std::shared_ptr<GivenFlags> given = std::make_shared<GivenFlags>();
  std::string options;
  OutputFlags output;
};

/// Starts a run in --out (default ./bilevel-COMMAND-N), or continues the one of --resume.
int run_or_resume(const CLI::App& command, const JobEntry& entry, const JobArguments& arguments) {
  const OutputFlags& output = arguments.output;
  const bool resume = resumes(command);
  JobFlags flags(entry);
  if (!arguments.options.empty()) fields_of(*flags.job).from_json(read_job_options(entry, arguments.options));
  fields_of(flags).set_given(*arguments.given);
  if (!resume) check_force(output);
  const std::string out = resume               ? output.resume
                          : output.out.empty() ? free_folder("bilevel-" + entry.name)
                                               : output.out;
  const auto job = [&](const JobCallbacks& callbacks) {
    return resume ? resume_job(entry, out, callbacks, flags.work.jobs)
                  : start_job(entry, *flags.job, out, callbacks, flags.work.jobs, output.force);
  };
  return show_job(entry, job, output.how, out);
}

void add_job(CLI::App& program, Body& body, const JobEntry& entry) {
  const auto arguments = std::make_shared<JobArguments>();
  CLI::App* c = program.add_subcommand(entry.name, entry.summary);
  c->footer("A first try: bilevel " + entry.name + " " + entry.first_try);
  JobFlags flags(entry);
  add_field_flags(*c, fields_of(flags), arguments->given);
  c->add_option("--options", arguments->options,
                "start from the options in this options.json; flags beside it win")
      ->group("Output")
      ->type_name("FILE");
  add_output_flags(*c, arguments->output,
                   fmt::format("folder for model, trace and report; default: ./bilevel-{}-N", entry.name));
  c->callback([c, &entry, arguments, &body] {
    body = [c, &entry, arguments] { return run_or_resume(*c, entry, *arguments); };
  });
}

}  // namespace

void show_result(const nlohmann::ordered_json& summary, const std::string& text, const Presentation& how) {
  if (how.json) {
    std::cout << summary.dump(2) << "\n";
    return;
  }
  std::cout << text;
  if (how.quiet) {
    for (const auto& warning : summary.value("warnings", nlohmann::ordered_json::array()))
      std::cerr << "warning: " << printable(warning.get<std::string>()) << "\n";
  }
}

int show_job(const JobEntry& entry, const std::function<JobResult(const JobCallbacks&)>& job,
             const Presentation& how, const std::string& out) {
  catch_interrupts();
  Progress bar(
      {.stream = stderr, .is_terminal = is_terminal(stderr), .quiet = how.quiet, .score = entry.score});
  bool moved = false;  // not when the run had finished before
  const JobCallbacks callbacks{.message = [&](const std::string& line) { bar.message(line); },
                               .progress =
                                   [&](const JobProgress& p) {
                                     moved = true;
                                     bar.update({.phase = p.phase,
                                                 .share = p.share,
                                                 .earlier = p.earlier,
                                                 .step = p.step,
                                                 .steps = p.steps,
                                                 .loss = p.upper_loss,
                                                 .best = entry.score_is_loss ? -p.best : p.best});
                                   },
                               .interrupt = &interrupted(),
                               .command_line = command_line()};
  const JobResult result = job(callbacks);
  if (result.finished && moved) bar.update({.phase = entry.name, .share = 1});
  bar.finish();

  show_result(result.summary, result.finished ? result.text : "", how);
  if (result.reason == StopReason::interrupted) {
    std::cerr << fmt::format("bilevel: {}; {}\n", result.message,
                             out.empty()
                                 ? "nothing was kept, because no --out was given"
                                 : fmt::format("continue with: bilevel {} --resume {}", entry.name, out));
    return kInterrupted;
  }
  if (!result.finished) {
    std::cerr << fmt::format("bilevel: {}{}\n", result.message,
                             out.empty() ? "" : "; the last good checkpoint is kept in " + out);
    return kNumerical;
  }
  return kDone;
}

std::unique_ptr<Contest> JobCommand::contest(uint64_t seed,
                                             const std::function<void(const std::string&)>& message) const {
  const std::unique_ptr<Job> job = entry->make();
  const Fields fields = fields_of(*job);
  fields.set_given(*given);
  fields.set("seed", seed);
  return contest_of(*entry, *job, message);
}

std::vector<JobCommand> add_job_commands(CLI::App& command) {
  std::vector<JobCommand> commands;
  for (const JobEntry& entry : job_registry()) {
    JobCommand job{
        .entry = &entry,
        .command = command.add_subcommand(entry.name, "the problem of 'bilevel " + entry.name + "'")};
    job.command->fallthrough();
    add_field_flags(*job.command, fields_of(*entry.make()), job.given, kTrainingGroup);
    commands.push_back(job);
  }
  return commands;
}

const JobCommand* parsed(const std::vector<JobCommand>& commands) {
  for (const JobCommand& job : commands) {
    if (job.command->parsed()) return &job;
  }
  return nullptr;
}

void add_output_flags(CLI::App& command, OutputFlags& flags, const std::string& out_meaning) {
  command.add_option("--out", flags.out, out_meaning)->group("Output")->type_name("DIR");
  command
      .add_flag("--force", flags.force,
                "replace the run of bilevel that --out holds, once nothing can be refused any more")
      ->group("Output");
  command.add_option("--resume", flags.resume, "continue the run in this folder, with its own options")
      ->group("Output")
      ->type_name("DIR");
  command.add_flag("--json", flags.how.json, "print one JSON object on standard output")->group("Output");
  add_quiet_flag(command, flags.how)->group("Output");
}

CLI::Option* add_quiet_flag(CLI::App& command, Presentation& how) {
  return command.add_flag(
      "--quiet", how.quiet,
      "no progress and no messages but warnings and errors; the result is printed all the same");
}

void check_force(const OutputFlags& flags) {
  if (flags.force && flags.out.empty())
    throw InputError("--force replaces the folder of --out, which is missing");
}

bool resumes(const CLI::App& command) {
  if (command.count("--resume") == 0) return false;
  for (const CLI::Option* option : command.get_options()) {
    const std::string& name = option->get_name();
    if (option->count() > 0 && name != "--resume" && name != "--json" && name != "--quiet" &&
        name != "--jobs" && name != "--replot")
      throw InputError(
          fmt::format("--resume continues a run with its own options; {} cannot be changed", name));
  }
  return true;
}

void add_jobs(CLI::App& program, Body& body) {
  for (const JobEntry& entry : job_registry()) add_job(program, body, entry);
}

}  // namespace bilevel::cli
