// `bilevel compare`: solvers on one task, with the same data, the same starts and the same budgets.
#include <fmt/format.h>

#include <iostream>
#include <limits>
#include <memory>
#include <optional>
#include <vector>

#include "bilevel/cli/command.h"
#include "bilevel/cli/field_flags.h"
#include "bilevel/cli/jobs.h"
#include "bilevel/cli/problem_flags.h"
#include "bilevel/core/error.h"
#include "bilevel/report/progress.h"
#include "bilevel/task/compare/comparison.h"
#include "bilevel/task/compare/known_contest.h"
#include "bilevel/task/compare/table.h"

namespace bilevel::cli {
namespace {

struct CompareArguments {
  std::string problem, solvers;
  std::vector<std::string> set;
  int64_t seeds = 5, tune = 0;
  uint64_t seed = 0;
  std::optional<int64_t> steps, samples, oracle_calls;
  std::optional<double> max_seconds;
  std::optional<int64_t> jobs_at_a_time;
  double noise = 0;
  std::string start;
  bool replot = false;
  OutputFlags output;
  std::vector<JobCommand> jobs;
  std::shared_ptr<GivenFlags> flags = std::make_shared<GivenFlags>();
  std::shared_ptr<ProblemFlags> problem_fields = std::make_shared<ProblemFlags>();

  void fields(Fields& f) {
    f.heading("Solvers");
    f.text("solvers", solvers,
           "names, separated by commas, or all; 'fast=adambo' is adambo under a name of its own")
        .as("NAME,...");
    f.texts("set", set,
            "an option of all solvers that have it (key=value) or of one (name.key=value); may be repeated")
        .as("[NAME.]KEY=VALUE");
    f.integer("tune", tune, kNonNegative, "trials of random search for every solver, the defaults first")
        .as("TRIALS");
    f.heading("Runs");
    f.integer("seeds", seeds, kAtLeastOne, "runs of every solver").as("N");
    f.integer("seed", seed, kNonNegative, "the first of the seeds, and the seed of the data").as("N");
    f.integer("steps", steps, kAtLeastOne, "steps of every run; the default budget, by task").as("N");
    f.integer("samples", samples, kAtLeastOne, "rows that every run may draw, for both levels together")
        .as("N");
    f.integer("oracle_calls", oracle_calls, kAtLeastOne, "stochastic derivatives that every run may evaluate")
        .as("N");
    f.number("max_seconds", max_seconds, kPositive, "time of every run, measurements left out").as("S");
    f.integer("jobs", jobs_at_a_time, kAtLeastOne,
              "runs at a time, each in a process that holds the data too; results do not depend on it")
        .as("N")
        .or_else("as many as there are cores; 1 with --max-seconds");
    f.heading("Problems");
    f.number("noise", noise, kNonNegative, "standard deviation of the noise in every first derivative")
        .as("S");
    f.text("start", start, "x at the start: one value, or one per coordinate").as("V,...");
  }

  CompareOptions options() const {
    return {.competitors = parse_competitors(solvers, set),
            .seeds = seeds,
            .seed = seed,
            .tune = tune,
            .budget = {.steps = steps.value_or(0),
                       .samples = samples.value_or(0),
                       .oracle_calls = oracle_calls.value_or(0),
                       .max_seconds = max_seconds.value_or(0)}};
  }
};

/// NaN where it is not known how many there are.
double share_of(int64_t done, int64_t all) {
  return all > 0 ? static_cast<double>(done) / static_cast<double>(all)
                 : std::numeric_limits<double>::quiet_NaN();
}

/// Shows a comparison with progress on standard error and the result on standard output.
int show_comparison(const std::function<CompareResult(const CompareCallbacks&)>& comparison,
                    const Presentation& how, const std::string& out) {
  catch_interrupts();
  const ProgressOptions look{.stream = stderr, .is_terminal = is_terminal(stderr), .quiet = how.quiet};
  ProgressOptions look_at_all = look;
  look_at_all.unit = "run";
  std::string run;
  double there = 0;  // share of the runs that were made before
  std::unique_ptr<Progress> progress, all;
  const auto say = [&](const std::string& line) {
    if (all) return all->message(line);
    if (!how.quiet) std::cerr << line << "\n";
  };
  const CompareResult result =
      comparison({.message = say,
                  .begins = [&](const std::string& name) { run = name; },
                  .progress =
                      [&](const PlayProgress& p) {
                        if (!look.is_terminal) return;  // elsewhere one line a run is enough
                        if (!progress) progress = std::make_unique<Progress>(look);
                        progress->update({.phase = run,
                                          .share = share_of(p.step, p.steps),
                                          .step = p.step,
                                          .steps = p.steps,
                                          .loss = p.upper_loss});
                      },
                  .ended =
                      [&](const std::string& name, const std::string& outcome) {
                        progress.reset();  // the line of the run's end takes its place
                        say(name + ": " + outcome);
                      },
                  .counts =
                      [&](int64_t done, int64_t total) {
                        if (!look.is_terminal) return;
                        if (!all) {
                          all = std::make_unique<Progress>(look_at_all);
                          there = share_of(done, total);
                        }
                        all->update({.phase = "all",
                                     .share = share_of(done, total),
                                     .earlier = there,
                                     .step = done,
                                     .steps = total});
                      },
                  .interrupt = &interrupted(),
                  .command_line = command_line()});
  progress.reset();
  all.reset();
  if (result.interrupted) {
    std::cerr << fmt::format("bilevel: interrupted; continue with: bilevel compare --resume {}\n", out);
    return kInterrupted;
  }
  if (how.json) std::cout << result.summary.dump(2) << "\n";
  if (!how.json)
    std::cout << (how.quiet ? "" : "\n") << table_text(result.summary) << "\nreport: " << out
              << "/report.html\n";
  if (!result.any_finished) {
    std::cerr << "bilevel: no run of any solver has finished; see the notes\n";
    return kNumerical;
  }
  return kDone;
}

int compare(const CLI::App& command, CompareArguments& given) {
  const JobCommand* job = parsed(given.jobs);
  const bool resume = resumes(command);
  fields_of(given).set_given(*given.flags);
  if (resume) {
    if (job != nullptr)
      throw InputError(
          fmt::format("--resume continues a comparison with its own task; leave out '{}'", job->entry->name));
    return show_comparison(
        [&](const CompareCallbacks& callbacks) {
          return given.replot ? replot_comparison(given.output.resume)
                              : resume_comparison(given.output.resume, callbacks, given.jobs_at_a_time);
        },
        given.output.how, given.output.resume);
  }
  if (given.replot) throw InputError("--replot draws a comparison again; say which with --resume DIR");
  if (given.problem.empty() && job == nullptr)
    throw InputError("compare on what? Give a job or a problem; see 'bilevel list'");
  if (job != nullptr) {
    if (!given.problem.empty())
      throw InputError(fmt::format("give {} or the problem {}, not both", job->entry->name, given.problem));
    if (given.noise != 0 || !given.start.empty() || !given.problem_fields->empty())
      throw InputError(fmt::format("--noise, --start and the options of the problems mean nothing to {}",
                                   job->entry->name));
  }
  check_force(given.output);
  if (given.solvers.empty()) throw InputError("--solvers NAME,... is missing: whom shall I compare?");
  const CompareOptions options = given.options();
  const std::string out = given.output.out.empty() ? free_folder("bilevel-compare") : given.output.out;
  return show_comparison(
      [&](const CompareCallbacks& callbacks) {
        // Before the contest, which computes.
        std::unique_ptr<Workers> workers = workers_for(options, given.jobs_at_a_time);
        const std::unique_ptr<Contest> contest =
            job != nullptr
                ? job->contest(options.seed, callbacks.message)
                : std::make_unique<KnownContest>(KnownContestOptions{.problem = given.problem,
                                                                     .fields = *given.problem_fields,
                                                                     .noise = given.noise,
                                                                     .start = start_values(given.start),
                                                                     .seed = options.seed});
        if (!given.jobs_at_a_time) share_cores(workers, *contest);
        return run_comparison(*contest, options, out, callbacks, workers.get(), given.output.force);
      },
      given.output.how, out);
}

}  // namespace

void add_compare(CLI::App& program, Body& body) {
  auto given = std::make_shared<CompareArguments>();
  CLI::App* c = program.add_subcommand(
      "compare", "compare solvers on a problem or on a task with data, each with the same budget");
  c->require_subcommand(0, 1);
  c->footer(
      "A first try: bilevel compare quadratic --solvers all --seeds 3\n"
      "On data:      bilevel compare auc --train reviews.tsv --text text --label class --positive spam \\\n"
      "                --solvers all --seeds 5 --tune 20\n"
      "The flags of data and model: 'bilevel compare auc --help'. What follows the name of a job is first "
      "looked up\n"
      "there: in 'compare --tune 20 tune --tune l2' the second is the job's.");
  std::string names;
  for (const KnownProblemEntry& entry : known_problem_registry())
    names += (names.empty() ? "" : ", ") + entry.name;
  c->add_option("problem", given->problem, "a problem with a known answer (" + names + ")")->type_name("");

  add_field_flags(*c, fields_of(*given), given->flags);
  add_output_flags(*c, given->output, "folder for traces, table and report; default: ./bilevel-compare-N");
  c->add_flag("--replot", given->replot,
              "with --resume: only write table, pictures and report again, from the traces")
      ->group("Output");
  add_problem_flags(*c, given->problem_fields);

  given->jobs = add_job_commands(*c);
  c->callback([c, given, &body] { body = [c, given] { return compare(*c, *given); }; });
}

}  // namespace bilevel::cli
