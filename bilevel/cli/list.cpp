// `bilevel list`: what there is.
#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <memory>

#include "bilevel/cli/command.h"
#include "bilevel/core/error.h"
#include "bilevel/model/network.h"
#include "bilevel/report/options_table.h"
#include "bilevel/solver/registry.h"
#include "bilevel/task/known_problem.h"

namespace bilevel::cli {
namespace {

void list_options(Solver& solver, const char* indent) {
  const Fields fields = fields_of(solver);
  for (const Field& field : fields.list()) {
    std::cout << fmt::format("{}{:<24} {}  [{}; default {}]\n", indent, field.name, field.meaning,
                             values_of(field), value_of(field));
  }
}

void list_solvers() {
  std::cout << "solvers:\n";
  for (const SolverEntry& entry : solver_registry()) {
    std::cout << fmt::format("  {:<14} {}\n", entry.name, entry.summary);
    list_options(*entry.make(), "    ");
  }
}

/// The table of docs/solvers.md.
void list_solvers_as_markdown() {
  std::cout << "| solver | in one line | strong convexity of g in y |\n|---|---|---|\n";
  for (const SolverEntry& entry : solver_registry()) {
    std::cout << fmt::format("| {} | {} | {} |\n", entry.name, entry.summary,
                             entry.needs_strong_convexity ? "assumed" : "not needed");
  }
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
      const std::string value = value_of(field);
      std::cout << fmt::format("    {:<24} {}  [{}; default {}]\n", flag, field.meaning, values_of(field),
                               value.empty() ? "none" : value);
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

}  // namespace

void add_list(CLI::App& program, Body& body) {
  struct Arguments {
    std::string what, name;
    bool markdown = false;
  };
  auto given = std::make_shared<Arguments>();
  CLI::App* c =
      program.add_subcommand("list", "list solvers and problems (with their options), encoders or tasks");
  c->add_option("what", given->what,
                "solvers, options (of the solver NAME), encoders, tasks or problems; all when left out")
      ->check(CLI::IsMember({"solvers", "options", "encoders", "tasks", "problems"}));
  c->add_option("name", given->name, "the solver whose options are listed");
  c->add_flag("--markdown", given->markdown, "as a table for a Markdown page (solvers, options)");
  c->callback([given, &body] {
    body = [given] {
      const auto& [what, name, markdown] = *given;
      if ((what == "options") == name.empty()) {
        throw InputError("a NAME belongs to 'list options NAME', and nowhere else");
      }
      if (markdown && what != "solvers" && what != "options") {
        throw InputError("--markdown: only 'list solvers' and 'list options NAME' have a Markdown form");
      }
      if (what == "options") {
        const std::unique_ptr<Solver> solver = make_solver(name);
        if (markdown) {
          std::cout << options_table(fields_of(*solver));
        } else {
          list_options(*solver, "");
        }
        return static_cast<int>(kDone);
      }
      if (markdown) {
        list_solvers_as_markdown();
        return static_cast<int>(kDone);
      }
      if (what.empty() || what == "solvers") list_solvers();
      if (what.empty() || what == "encoders") list_encoders();
      if (what.empty() || what == "tasks") list_tasks();
      if (what.empty() || what == "problems") list_problems();
      return static_cast<int>(kDone);
    };
  });
}

}  // namespace bilevel::cli
