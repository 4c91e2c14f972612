// `bilevel list`: what there is.
#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <memory>

#include "bilevel/cli/command.h"
#include "bilevel/model/network.h"
#include "bilevel/solver/registry.h"
#include "bilevel/task/known_problem.h"

namespace bilevel::cli {
namespace {

void list_solvers() {
  std::cout << "solvers:\n";
  for (const SolverEntry& entry : solver_registry()) {
    std::cout << fmt::format("  {:<14} {}\n", entry.name, entry.summary);
    const std::unique_ptr<Solver> solver = entry.make();
    const Fields fields = fields_of(*solver);
    for (const Field& field : fields.list()) {
      const auto value = field.get();
      std::cout << fmt::format("    {:<24} {}  [{}; default {}]\n", field.name, field.meaning,
                               field.rule.empty() ? field.type : field.type + " " + field.rule,
                               value.is_string() ? value.get<std::string>() : value.dump());
    }
  }
}

void list_encoders() {
  std::cout << "encoders:\n";
  for (const EncoderEntry& entry : encoder_registry())
    std::cout << fmt::format("  {:<14} {}\n", entry.name, entry.summary);
}

void list_tasks() {
  std::cout << "tasks:\n";
  std::cout << fmt::format("  {:<14} {}\n", "auc",
                           "train a classifier that maximizes AUC on imbalanced text or tables");
}

void list_problems() {
  std::cout << "problems:\n";
  for (const KnownProblemEntry& entry : known_problem_registry()) {
    std::cout << fmt::format("  {:<16} {}\n", entry.name, entry.summary);
    const std::unique_ptr<KnownProblem> problem = entry.make();
    const Fields fields = fields_of(*problem);
    for (const Field& field : fields.list()) {
      std::string flag = "--" + field.name;
      std::replace(flag.begin(), flag.end(), '_', '-');
      const auto value = field.get();
      const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
      std::cout << fmt::format("    {:<24} {}  [{}; default {}]\n", flag, field.meaning,
                               field.rule.empty() ? field.type : field.type + " " + field.rule,
                               text.empty() ? "none" : text);
    }
  }
}

}  // namespace

void add_list(CLI::App& program, Body& body) {
  auto what = std::make_shared<std::string>();
  CLI::App* c =
      program.add_subcommand("list", "list solvers and problems (with their options), encoders or tasks");
  c->add_option("what", *what, "solvers, encoders, tasks or problems; all when left out")
      ->check(CLI::IsMember({"solvers", "encoders", "tasks", "problems"}));
  c->callback([what, &body] {
    body = [what] {
      if (what->empty() || *what == "solvers") list_solvers();
      if (what->empty() || *what == "encoders") list_encoders();
      if (what->empty() || *what == "tasks") list_tasks();
      if (what->empty() || *what == "problems") list_problems();
      return static_cast<int>(kDone);
    };
  });
}

}  // namespace bilevel::cli
