// `bilevel check`: can a problem's hypergradient be trusted?
#include "bilevel/check/check.h"

#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <memory>
#include <sstream>

#include "bilevel/cli/auc_flags.h"
#include "bilevel/cli/command.h"
#include "bilevel/cli/problem_flags.h"
#include "bilevel/core/error.h"
#include "bilevel/task/auc/auc_model.h"

namespace bilevel::cli {
namespace {

struct CheckArguments {
  std::string problem, estimators;
  CheckOptions options;
  bool json = false;
  std::shared_ptr<ProblemFlags> fields = std::make_shared<ProblemFlags>();
  std::shared_ptr<AucFlags> auc = std::make_shared<AucFlags>();
};

CheckOptions check_options(const CheckArguments& given) {
  CheckOptions options = given.options;
  std::istringstream names(given.estimators);
  for (std::string name; std::getline(names, name, ',');) options.estimators.push_back(name);
  return options;
}

int show_check(const CheckArguments& given, const std::string& name,
               const nlohmann::ordered_json& problem_options, const CheckReport& report) {
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

int check_known(const CheckArguments& given) {
  const std::unique_ptr<KnownProblem> known = make_known_problem(given.problem);
  apply_problem_flags(*given.fields, *known);
  known->build(given.options.seed);
  return show_check(given, given.problem, fields_of(*known).to_json(),
                    check(known->problem(), check_options(given)));
}

/// At most `most` rows, both classes in proportion, at least one of each.
std::vector<int64_t> some_of(const std::vector<int64_t>& rows, const torch::Tensor& labels, int64_t most) {
  const auto all = static_cast<int64_t>(rows.size());
  if (most == 0 || all <= most) return rows;
  const auto* label = labels.data_ptr<float>();
  const int64_t positives =
      std::count_if(rows.begin(), rows.end(), [&](int64_t row) { return label[row] > 0; });
  const int64_t of_positives =
      std::clamp<int64_t>(std::llround(static_cast<double>(most * positives) / static_cast<double>(all)), 1,
                          std::max<int64_t>(1, most - 1));
  int64_t room[2] = {most - of_positives, of_positives};
  std::vector<int64_t> chosen;
  for (const int64_t row : rows) {
    if (room[label[row] > 0 ? 1 : 0]-- > 0) chosen.push_back(row);
  }
  return chosen;
}

/// The problem that `bilevel auc` trains, on some of its rows, near the weights that it starts from.
int check_auc(const CheckArguments& given) {
  AucJobOptions options = options_of(*given.auc);
  options.seed = given.options.seed;
  const AucSetup setup(options, [&](const std::string& line) {
    if (!given.json) std::cerr << line << "\n";
  });
  const AucTrainingOptions& training = setup.training();
  const AucParts& parts = setup.parts();
  const auto few = [&](const std::vector<int64_t>& rows) {
    return some_of(rows, parts.labels, given.options.rows);
  };
  AucData data{
      .inputs = setup.first().inputs, .labels = parts.labels, .upper = {}, .lower = few(parts.train)};
  data.upper = training.papers ? few(parts.valid) : data.lower;
  const AucModel model(training.network, setup.first().shape,
                       AucLoss{.form = training.loss, .margin = training.margin}, training.l2, options.seed,
                       training.device);
  {  // weights that start at zero are a special point, at which mistakes may vanish
    const torch::NoGradGuard no_grad;
    at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(options.seed);
    for (torch::Tensor& t : model.upper_parameters()) {
      t.add_(0.05 * torch::randn(t.sizes(), generator, torch::kFloat64).to(t.options().requires_grad(false)));
    }
  }
  return show_check(given, "auc", nlohmann::json(setup.options()),
                    check(model.problem(data, training.batch_size), check_options(given)));
}

}  // namespace

void add_check(CLI::App& program, Body& body) {
  auto given = std::make_shared<CheckArguments>();
  CheckOptions& o = given->options;
  CLI::App* c = program.add_subcommand(
      "check",
      "compare every estimate of a problem's hypergradient with finite differences of the solved problem");
  c->footer(
      "Exit code 0: nothing is wrong; 3: something is.\n"
      "A first try:  bilevel check quadratic\n"
      "              bilevel check auc --train FILE --label COL --positive VALUE");
  c->add_option("problem", given->problem, "a problem with a known answer, or auc; see 'bilevel list'")
      ->type_name("PROBLEM");
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

  CLI::App* auc =
      c->add_subcommand("auc", "the problem of 'bilevel auc'; the options of check stand here too");
  auc->fallthrough();
  add_auc_flags(*auc, given->auc);
  c->callback([auc, given, &body] {
    body = [auc, given] {
      if (auc->parsed()) {
        if (!given->fields->empty() || !given->problem.empty())
          throw InputError("a problem's name and its options mean nothing to auc");
        return check_auc(*given);
      }
      if (given->problem.empty())
        throw InputError("which problem? 'bilevel check PROBLEM'; 'bilevel list problems' tells them");
      return check_known(*given);
    };
  });
}

}  // namespace bilevel::cli
