// `bilevel check`: can a problem's hypergradient be trusted?
#include "bilevel/check/check.h"

#include <ATen/CPUGeneratorImpl.h>
#include <torch/types.h>

#include <iostream>
#include <memory>

#include "bilevel/cli/command.h"
#include "bilevel/cli/field_flags.h"
#include "bilevel/cli/jobs.h"
#include "bilevel/cli/problem_flags.h"
#include "bilevel/core/error.h"

namespace bilevel::cli {
namespace {

struct CheckArguments {
  std::string problem, estimators;
  CheckOptions options;

  void fields(Fields& f) {
    options.fields(f);
    f.text("estimators", estimators, "only these estimators").as("A,B,...").or_else("all");
  }
  Presentation how;
  std::shared_ptr<GivenFlags> flags = std::make_shared<GivenFlags>();
  std::shared_ptr<ProblemFlags> problem_fields = std::make_shared<ProblemFlags>();
  std::vector<JobCommand> jobs;
};

CheckOptions check_options(const CheckArguments& given) {
  CheckOptions options = given.options;
  options.estimators = split_list(given.estimators);
  return options;
}

int show_check(const CheckArguments& given, const std::string& name,
               const nlohmann::ordered_json& problem_options, const CheckReport& report) {
  if (given.how.json) {
    nlohmann::ordered_json object{{"command", "check"},
                                  {"problem", name},
                                  {"problem_options", problem_options},
                                  {"seed", given.options.seed}};
    object.update(report.to_json());
    std::cout << object.dump(2) << "\n";
  } else {
    std::cout << name << "\n" << report.table();
  }
  return report.ok ? kDone : kNumerical;
}

int check_known(const CheckArguments& given) {
  const std::unique_ptr<KnownProblem> known = make_known_problem(given.problem);
  apply_problem_flags(*given.problem_fields, *known);
  known->build(given.options.seed);
  return show_check(given, given.problem, fields_of(*known).to_json(),
                    check(known->problem(), check_options(given)));
}

/// The problem that a job trains, on some of its rows, near the weights that it starts from.
int check_job(const CheckArguments& given, const JobCommand& job) {
  const std::unique_ptr<Contest> contest = job.contest(given.options.seed, [&](const std::string& line) {
    if (!given.how.json && !given.how.quiet) std::cerr << line << "\n";
  });
  const std::unique_ptr<Attempt> attempt = contest->attempt(given.options.seed);
  const Problem problem = attempt->problem_on(given.options.rows);
  {  // weights that start at zero are a special point, at which mistakes may vanish
    const torch::NoGradGuard no_grad;
    at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(given.options.seed);
    for (torch::Tensor t : problem.upper.parameters) {
      t.add_(0.05 * torch::randn(t.sizes(), generator, torch::kFloat64).to(t.options().requires_grad(false)));
    }
  }
  return show_check(given, job.entry->name, contest->to_json().at("options"),
                    check(problem, check_options(given)));
}

}  // namespace

void add_check(CLI::App& program, Body& body) {
  auto given = std::make_shared<CheckArguments>();
  CLI::App* c = program.add_subcommand(
      "check",
      "compare every estimate of a problem's hypergradient with finite differences of the solved problem");
  c->footer(
      "Exit code 0: nothing is wrong; 3: something is.\n"
      "A first try: bilevel check quadratic\n"
      "              bilevel check auc --train FILE --label COL --positive VALUE");
  c->add_option("problem", given->problem, "a problem with a known answer; see 'bilevel list'")
      ->type_name("PROBLEM");
  add_field_flags(*c, fields_of(*given), given->flags);
  c->add_flag("--json", given->how.json, "print one JSON object on standard output");
  add_quiet_flag(*c, given->how);
  add_problem_flags(*c, given->problem_fields);

  given->jobs = add_job_commands(*c);
  c->callback([given, &body] {
    body = [given] {
      fields_of(*given).set_given(*given->flags);
      if (const JobCommand* job = parsed(given->jobs)) {
        if (!given->problem_fields->empty() || !given->problem.empty())
          throw InputError("a problem's name and its options mean nothing to " + job->entry->name);
        return check_job(*given, *job);
      }
      if (given->problem.empty())
        throw InputError("which problem? 'bilevel check PROBLEM'; 'bilevel list problems' tells them");
      return check_known(*given);
    };
  });
}

}  // namespace bilevel::cli
