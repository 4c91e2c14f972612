// `bilevel solve`: a solver on a problem whose answer is known.
#include <fmt/format.h>

#include <cmath>
#include <iostream>
#include <memory>

#include "bilevel/cli/command.h"
#include "bilevel/cli/problem_flags.h"
#include "bilevel/core/error.h"
#include "bilevel/core/number.h"
#include "bilevel/report/page.h"
#include "bilevel/report/progress.h"
#include "bilevel/task/solve_job.h"

namespace bilevel::cli {
namespace {

struct SolveArguments {
  SolveJobOptions job;
  std::string start, out, resume;
  int64_t seed = 0;  // signed: a negative number must not become a large one
  bool json = false, quiet = false;
};

/// "1,-2,0.5" as numbers.
std::vector<double> numbers_of(const std::string& text) {
  std::vector<double> numbers;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string part = text.substr(begin, end - begin);
    const Number number = read_number(part);
    if (number.kind != CellKind::number)
      throw InputError(fmt::format("start = {}: '{}' is not a finite number", text, part));
    numbers.push_back(number.value);
    begin = end + 1;
  }
  return numbers;
}

void show_solution(const SolveJobResult& result) {
  const auto& summary = result.summary;
  const auto& metrics = summary.at("metrics");
  std::cout << fmt::format("{} on {}: {} steps in {} ({})\n", summary.at("solver").get<std::string>(),
                           summary.at("problem").get<std::string>(), summary.at("steps").get<int64_t>(),
                           duration_text(summary.at("seconds").get<double>()),
                           summary.at("stop_reason").get<std::string>());
  const auto line = [&](const char* what, const char* key) {
    std::cout << fmt::format("  {:<32} {}\n", what,
                             metrics.at(key).is_null() ? "unknown" : text_of(metrics.at(key)));
  };
  line("distance to x* / sqrt(dim x)", "distance");
  line("norm of the true hypergradient", "gradient_norm");
  if (metrics.contains("projected_gradient_norm")) line("  projected", "projected_gradient_norm");
  line("upper objective f(x, y)", "upper");
  line("lower objective g(x, y)", "lower");
  for (const auto& warning : summary.at("warnings")) {
    std::cout << fmt::format("warning: {}\n", warning.get<std::string>());
  }
  if (summary.at("out").is_string()) {
    const auto out = summary.at("out").get<std::string>();
    std::cout << fmt::format("trace: {}/trace.jsonl, report: {}/report.html\n", out, out);
  }
}

int solve(const SolveArguments& given, const std::function<SolveJobResult(const SolveJobCallbacks&)>& job) {
  catch_interrupts();
  std::unique_ptr<Progress> progress;
  const ProgressOptions look{.stream = stderr, .is_terminal = is_terminal(stderr), .quiet = given.quiet};
  const SolveJobCallbacks callbacks{.message =
                                        [&](const std::string& line) {
                                          if (!given.quiet && given.json)
                                            std::cerr << "bilevel: warning: " << line << "\n";
                                        },
                                    .progress =
                                        [&](const SolveProgress& p) {
                                          if (!progress)
                                            progress = std::make_unique<Progress>("solving", p.steps, look,
                                                                                  p.step - 1);
                                          progress->update({.step = p.step, .loss = p.upper});
                                        },
                                    .interrupt = &interrupted()};
  const SolveJobResult result = job(callbacks);
  if (progress) progress->finish();

  if (given.json) std::cout << result.summary.dump(2) << "\n";
  const std::string& out = given.resume.empty() ? given.out : given.resume;
  if (result.reason == StopReason::interrupted) {
    std::cerr << fmt::format("bilevel: {}; {}\n", result.message,
                             out.empty() ? "nothing was kept, because no --out was given"
                                         : "continue with: bilevel solve --resume " + out);
    return kInterrupted;
  }
  if (!result.finished) {
    std::cerr << fmt::format("bilevel: {}{}\n", result.message,
                             out.empty() ? "" : "; the last good checkpoint is kept in " + out);
    return kNumerical;
  }
  if (!given.json && !given.quiet) show_solution(result);
  return kDone;
}

}  // namespace

void add_solve(CLI::App& program, Body& body) {
  auto given = std::make_shared<SolveArguments>();
  auto flags = std::make_shared<ProblemFlags>();
  SolveJobOptions& o = given->job;
  CLI::App* c = program.add_subcommand("solve", "run a solver on a problem whose answer is known");
  c->footer(
      "'bilevel list problems' tells the problems with their options.\n"
      "A first try:  bilevel solve p1 --solver adambo --set upper_step_size=0.1");
  CLI::Option* problem =
      c->add_option("problem", o.problem, "see 'bilevel list problems'")->type_name("PROBLEM");
  const char* run = "Run";
  c->add_option("--solver", o.solver, "see 'bilevel list solvers'; default: adambo")
      ->group(run)
      ->type_name("NAME");
  c->add_option("--steps", o.steps, "steps of the solver, its warm start not counted; default: 1000")
      ->group(run)
      ->type_name("N");
  c->add_option("--set", o.set, "an option of the solver; may be repeated; see 'bilevel list solvers'")
      ->group(run)
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  c->add_option("--noise", o.noise,
                "standard deviation, per coordinate, of the noise in every gradient; default: 0, all oracles "
                "are exact")
      ->group(run)
      ->type_name("S");
  c->add_option("--start", given->start, "where x starts: one value for all coordinates, or one for each")
      ->group(run)
      ->type_name("V,...");
  c->add_option("--seed", given->seed, "seed of all randomness; default: 0")->group(run)->type_name("N");
  c->add_option("--tolerance", o.tolerance,
                "stop when the true hypergradient's norm (projected, where x is constrained) is at most this")
      ->group(run)
      ->type_name("T");
  CLI::Option* seconds =
      c->add_option("--max-seconds", o.max_seconds, "stop after this time, evaluations not counted")
          ->group(run)
          ->type_name("S");
  c->add_option("--threads", o.threads, "threads of the numerical library; default: 1")
      ->group(run)
      ->type_name("N");
  const char* output = "Output";
  c->add_option("--out", given->out, "folder for trace, curves and report; none: nothing is written")
      ->group(output)
      ->type_name("DIR");
  CLI::Option* resume =
      c->add_option("--resume", given->resume, "continue the run in this folder, with its own options")
          ->group(output)
          ->type_name("DIR");
  c->add_flag("--json", given->json, "print one JSON object on standard output")->group(output);
  c->add_flag("--quiet", given->quiet, "no progress")->group(output);
  add_problem_flags(*c, flags);

  c->callback([c, given, flags, problem, seconds, resume, &body] {
    body = [c, given, flags, problem, seconds, resume] {
      if (resume->count() > 0) {
        for (const CLI::Option* option : c->get_options()) {
          const std::string name = option->get_name();
          if (option->count() > 0 && option != resume && name != "--json" && name != "--quiet") {
            throw InputError(
                fmt::format("--resume continues a run with its own options; {} cannot be changed", name));
          }
        }
        return solve(*given, [&](const SolveJobCallbacks& callbacks) {
          return resume_solve_job(given->resume, callbacks);
        });
      }
      if (problem->count() == 0) throw InputError("which problem? 'bilevel list problems' tells them");
      SolveJobOptions job = given->job;
      if (given->seed < 0) throw InputError(fmt::format("seed = {}: must be >= 0", given->seed));
      job.seed = static_cast<uint64_t>(given->seed);
      if (seconds->count() > 0 && job.max_seconds == 0) throw InputError("max_seconds = 0: must be > 0");
      const std::unique_ptr<KnownProblem> known = make_known_problem(job.problem);
      apply_problem_flags(*flags, *known);
      job.problem_options = fields_of(*known).to_json();
      if (!given->start.empty()) job.start = numbers_of(given->start);
      return solve(*given, [&](const SolveJobCallbacks& callbacks) {
        return run_solve_job(job, given->out, callbacks);
      });
    };
  });
}

}  // namespace bilevel::cli
