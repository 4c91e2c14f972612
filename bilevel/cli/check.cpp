// `bilevel check`: can a problem's hypergradient be trusted?
#include "bilevel/check/check.h"

#include <fmt/format.h>

#include <iostream>
#include <memory>
#include <sstream>

#include "bilevel/cli/command.h"
#include "bilevel/cli/problem_flags.h"
#include "bilevel/core/error.h"

namespace bilevel::cli {
namespace {

struct Given {
  std::string problem, estimators;
  CheckOptions options;
  bool json = false;
  std::shared_ptr<ProblemFlags> fields = std::make_shared<ProblemFlags>();
};

CheckOptions check_options(const Given& given) {
  CheckOptions options = given.options;
  std::istringstream names(given.estimators);
  for (std::string name; std::getline(names, name, ',');) options.estimators.push_back(name);
  return options;
}

int show(const Given& given, const std::string& name, const nlohmann::ordered_json& problem_options,
         const CheckReport& report) {
  if (given.json) {
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

int check_known(const Given& given) {
  const std::unique_ptr<KnownProblem> known = make_known_problem(given.problem);
  apply_problem_flags(*given.fields, *known);
  known->build(given.options.seed);
  return show(given, given.problem, fields_of(*known).to_json(),
              check(known->problem(), check_options(given)));
}

}  // namespace

void add_check(CLI::App& program, Body& body) {
  auto given = std::make_shared<Given>();
  CheckOptions& o = given->options;
  CLI::App* c = program.add_subcommand(
      "check",
      "compare every estimate of a problem's hypergradient with finite differences of the solved problem");
  c->footer(
      "Exit code 0: nothing is wrong; 3: something is.\n"
      "A first try:  bilevel check quadratic");
  c->add_option("problem", given->problem, "a problem with a known answer")->type_name("PROBLEM");
  c->add_option("--tolerance", o.tolerance,
                "relative error that counts as equal; default: 1e-5 in float64, 2e-2 in float32")
      ->type_name("T");
  c->add_option("--rows", o.rows, "rows of each level at most, 0 for all; default: 1000")->type_name("N");
  c->add_option("--estimators", given->estimators, "only these estimators; default: all")
      ->type_name("A,B,...");
  c->add_option("--max-products", o.max_products, "products or steps of one estimator at most; default: 5000")
      ->type_name("N");
  c->add_option("--seed", o.seed, "seed of the problem, the samples and the directions; default: 0")
      ->type_name("N");
  c->add_flag("--json", given->json, "print one JSON object on standard output");
  add_problem_flags(*c, given->fields);

  c->callback([given, &body] {
    body = [given] {
      if (given->problem.empty())
        throw InputError("which problem? 'bilevel check PROBLEM'; 'bilevel list problems' tells them");
      return check_known(*given);
    };
  });
}

}  // namespace bilevel::cli
