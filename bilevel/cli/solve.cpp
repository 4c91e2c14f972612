// `bilevel solve`: a solver on a problem whose answer is known.
#include <memory>

#include "bilevel/cli/command.h"
#include "bilevel/cli/field_flags.h"
#include "bilevel/cli/jobs.h"
#include "bilevel/cli/problem_flags.h"
#include "bilevel/core/error.h"
#include "bilevel/task/solve_job.h"

namespace bilevel::cli {

void add_solve(CLI::App& program, Body& body) {
  struct Arguments {
    SolveJobOptions job;
    std::shared_ptr<GivenFlags> given = std::make_shared<GivenFlags>();
    std::shared_ptr<ProblemFlags> problem = std::make_shared<ProblemFlags>();
    OutputFlags output;
  };
  const auto arguments = std::make_shared<Arguments>();
  CLI::App* c = program.add_subcommand("solve", "run a solver on a problem whose answer is known");
  c->footer(
      "'bilevel list problems' tells the problems with their options.\n"
      "A first try: bilevel solve p1 --solver adambo --set upper_step_size=0.1");
  c->add_option("problem", arguments->job.problem, "see 'bilevel list problems'")->type_name("PROBLEM");
  add_field_flags(*c, fields_of(arguments->job), arguments->given);
  add_output_flags(*c, arguments->output, "folder for trace, curves and report; none: nothing is written");
  add_problem_flags(*c, arguments->problem);
  c->callback([c, arguments, &body] {
    body = [c, arguments] {
      const OutputFlags& output = arguments->output;
      const JobEntry entry{.name = "solve"};
      if (resumes(*c)) {
        return show_job(
            entry, [&](const JobCallbacks& callbacks) { return resume_solve_job(output.resume, callbacks); },
            output.how, output.resume);
      }
      check_force(output);
      SolveJobOptions job = arguments->job;
      if (job.problem.empty()) throw InputError("which problem? 'bilevel list problems' tells them");
      fields_of(job).set_given(*arguments->given);
      const std::unique_ptr<KnownProblem> known = make_known_problem(job.problem);
      apply_problem_flags(*arguments->problem, *known);
      job.problem_options = fields_of(*known).to_json();
      return show_job(
          entry,
          [&](const JobCallbacks& callbacks) {
            return run_solve_job(job, output.out, callbacks, output.force);
          },
          output.how, output.out);
    };
  });
}

}  // namespace bilevel::cli
