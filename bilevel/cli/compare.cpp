// `bilevel compare`: solvers on one task, with the same data, the same starts and the same budgets.
#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <vector>

#include "bilevel/cli/command.h"
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
  OutputFlags output;
  std::vector<std::string> set;
  CompareOptions options;
  std::vector<double> start;
  double noise = 0;
  bool replot = false;
  std::vector<JobCommand> jobs;
  std::shared_ptr<ProblemFlags> fields = std::make_shared<ProblemFlags>();
};

/// Shows a comparison with progress on standard error and the result on standard output.
int show_comparison(const std::function<CompareResult(const CompareCallbacks&)>& comparison,
                    const Presentation& how, const std::string& out) {
  catch_interrupts();
  const ProgressOptions look{.stream = stderr, .is_terminal = is_terminal(stderr), .quiet = how.quiet};
  std::string run;
  std::unique_ptr<Progress> progress;
  const auto say = [&](const std::string& line) {
    if (!how.quiet) std::cerr << line << "\n";
  };
  const CompareResult result =
      comparison({.message = say,
                  .begins = [&](const std::string& name) { run = name; },
                  .progress =
                      [&](const PlayProgress& p) {
                        if (!look.is_terminal) return;  // elsewhere one line a run is enough
                        if (!progress) progress = std::make_unique<Progress>(run, p.steps, look);
                        progress->update({.step = p.step, .loss = p.upper_loss});
                      },
                  .ended =
                      [&](const std::string& outcome) {
                        progress.reset();  // the line of the run's end takes its place
                        say(run + ": " + outcome);
                      },
                  .interrupt = &interrupted()});
  progress.reset();
  if (result.interrupted) {
    std::cerr << fmt::format("bilevel: interrupted; continue with: bilevel compare --resume {}\n", out);
    return kInterrupted;
  }
  if (how.json) std::cout << result.summary.dump(2) << "\n";
  if (!how.json && !how.quiet)
    std::cout << "\n" << table_text(result.summary) << "\nreport: " << out << "/report.html\n";
  if (!result.any_finished) {
    std::cerr << "bilevel: no run of any solver has finished; see the notes\n";
    return kNumerical;
  }
  return kDone;
}

int compare(const CLI::App& command, const CompareArguments& given) {
  const JobCommand* job = parsed(given.jobs);
  if (resumes(command)) {
    if (job != nullptr)
      throw InputError(
          fmt::format("--resume continues a comparison with its own task; leave out '{}'", job->entry->name));
    return show_comparison(
        [&](const CompareCallbacks& callbacks) {
          return given.replot ? replot_comparison(given.output.resume)
                              : resume_comparison(given.output.resume, callbacks);
        },
        given.output.how, given.output.resume);
  }
  if (given.replot) throw InputError("--replot draws a comparison again; say which with --resume DIR");
  if (given.problem.empty() && job == nullptr)
    throw InputError("compare on what? Give a job or a problem; see 'bilevel list'");
  if (job != nullptr) {
    if (!given.problem.empty())
      throw InputError(fmt::format("give {} or the problem {}, not both", job->entry->name, given.problem));
    if (given.noise != 0 || !given.start.empty() || !given.fields->empty())
      throw InputError(fmt::format("--noise, --start and the options of the problems mean nothing to {}",
                                   job->entry->name));
  }
  if (given.solvers.empty()) throw InputError("--solvers NAME,... is missing: whom shall I compare?");
  CompareOptions options = given.options;
  options.competitors = parse_competitors(given.solvers, given.set);
  const std::string out = given.output.out.empty() ? free_folder("bilevel-compare") : given.output.out;
  return show_comparison(
      [&](const CompareCallbacks& callbacks) {
        const std::unique_ptr<Contest> contest =
            job != nullptr ? job->contest(options.seed, callbacks.message)
                           : std::make_unique<KnownContest>(KnownContestOptions{.problem = given.problem,
                                                                                .fields = *given.fields,
                                                                                .noise = given.noise,
                                                                                .start = given.start,
                                                                                .seed = options.seed});
        return run_comparison(*contest, options, out, callbacks);
      },
      given.output.how, out);
}

}  // namespace

void add_compare(CLI::App& program, Body& body) {
  auto given = std::make_shared<CompareArguments>();
  CompareOptions& o = given->options;
  CLI::App* c = program.add_subcommand(
      "compare", "compare solvers on a problem or on a task with data, each with the same budget");
  c->require_subcommand(0, 1);
  c->footer(
      "A first try:  bilevel compare quadratic --solvers all --seeds 3\n"
      "On data:      bilevel compare auc --train reviews.tsv --text text --label class --positive spam \\\n"
      "                --solvers all --seeds 5 --tune 20\n"
      "The flags of data and model: 'bilevel compare auc --help'. What follows the name of a job is first "
      "looked up\n"
      "there: in 'compare --tune 20 tune --tune l2' the second is the job's.");
  std::string names;
  for (const KnownProblemEntry& entry : known_problem_registry())
    names += (names.empty() ? "" : ", ") + entry.name;
  c->add_option("problem", given->problem, "a problem with a known answer (" + names + ")")->type_name("");

  const char* who = "Solvers";
  c->add_option("--solvers", given->solvers,
                "names, separated by commas, or all; 'fast=adambo' is adambo under a name of its own")
      ->group(who)
      ->type_name("NAME,...");
  c->add_option(
       "--set", given->set,
       "an option of all solvers that have it (key=value) or of one (name.key=value); may be repeated")
      ->group(who)
      ->type_name("[NAME.]KEY=VALUE")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  c->add_option("--tune", o.tune, "trials of random search for every solver, the defaults first; default: 0")
      ->group(who)
      ->type_name("TRIALS");

  const char* runs = "Runs";
  c->add_option("--seeds", o.seeds, "runs of every solver; default: 5")->group(runs)->type_name("N");
  c->add_option("--seed", o.seed, "the first of the seeds, and the seed of the data")
      ->group(runs)
      ->type_name("N")
      ->check(not_negative_number());
  const auto budget = [&](const char* name, auto& value, const char* type, const char* meaning) {
    c->add_option(name, value, meaning)->group(runs)->type_name(type)->check(positive_number());
  };
  budget("--steps", o.budget.steps, "N", "steps of every run; the default budget, by task");
  budget("--samples", o.budget.samples, "N", "rows that every run may draw, for both levels together");
  budget("--oracle-calls", o.budget.oracle_calls, "N", "stochastic derivatives that every run may evaluate");
  budget("--max-seconds", o.budget.max_seconds, "S", "time of every run, measurements left out");

  const char* problems = "Problems";
  c->add_option("--noise", given->noise,
                "standard deviation of the noise in every first derivative; default: 0")
      ->group(problems)
      ->type_name("S")
      ->check(not_negative_number());
  c->add_option("--start", given->start, "x at the start: one value, or one per coordinate")
      ->group(problems)
      ->type_name("V,...")
      ->delimiter(',')
      ->allow_extra_args(false);

  add_output_flags(*c, given->output, "folder for traces, table and report; default: ./bilevel-compare-N");
  c->add_flag("--replot", given->replot,
              "with --resume: only write table, pictures and report again, from the traces")
      ->group("Output");
  add_problem_flags(*c, given->fields);

  given->jobs = add_job_commands(*c);
  c->callback([c, given, &body] { body = [c, given] { return compare(*c, *given); }; });
}

}  // namespace bilevel::cli
