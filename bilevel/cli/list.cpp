// `bilevel list`: what there is.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <iostream>
#include <memory>

#include "bilevel/cli/command.h"
#include "bilevel/core/error.h"
#include "bilevel/model/encoder.h"
#include "bilevel/report/options_table.h"
#include "bilevel/solver/registry.h"
#include "bilevel/task/job/parts.h"
#include "bilevel/task/known_problem.h"

namespace bilevel::cli {
namespace {

/// Those that have a heading are flags; those of a problem are, too, and take a value in any case.
void list_options(const Fields& fields, const char* indent, bool of_problem = false) {
  for (const Field& field : fields.list()) {
    std::string name = of_problem || !field.group.empty() ? field.flag() : field.name;
    if (of_problem && field.is_flag()) name.erase(2, 5);  // [no-]
    std::cout << fmt::format("{}{:<24} {}  [{}; default {}]\n", indent, name, field.meaning, values_of(field),
                             value_of(field));
  }
}

/// Without the marks of Markdown.
std::string plain(std::string text) {
  std::erase(text, '`');
  return text;
}

void list_solvers() {
  std::cout << "solvers:\n";
  for (const SolverEntry& entry : solver_registry()) {
    std::cout << fmt::format("  {:<14} {}\n", entry.name, entry.summary);
    const Assumptions& a = entry.assumptions;
    std::cout << fmt::format(
        "    theory: second derivatives of f {}, g in y {}, derivatives {}, samples {}{}\n",
        words_of(a.smoothness), words_of(a.convexity), words_of(a.noise), words_of(a.sampling),
        a.of_options.empty() ? "" : "; " + plain(a.of_options));
    list_options(fields_of(*entry.make()), "    ");
  }
}

/// The table of docs/solvers.md.
void list_solvers_as_markdown() {
  std::cout << "| solver | in one line |\n|---|---|\n";
  for (const SolverEntry& entry : solver_registry())
    std::cout << fmt::format("| {} | {} |\n", entry.name, entry.summary);
}

/// What the solvers' theories cover: the hardest case of each kind.
void list_assumptions() {
  const auto row = [](const auto& solver, const auto& f, const auto& g, const auto& noise,
                      const auto& samples) {
    return fmt::format("  {:<11}{:<10}{:<17}{:<13}{}\n", solver, f, g, noise, samples);
  };
  std::cout << "what the theory of each solver covers, at most:\n"
            << row("solver", "d2f", "g in y", "derivatives", "samples");
  for (const SolverEntry& entry : solver_registry()) {
    const Assumptions& a = entry.assumptions;
    std::cout << row(entry.name, words_of(a.smoothness), words_of(a.convexity), words_of(a.noise),
                     words_of(a.sampling));
    if (!a.of_options.empty()) std::cout << fmt::format("  {:<11}{}\n", "", plain(a.of_options));
  }
}

/// The table of docs/choose.md.
void list_assumptions_as_markdown() {
  std::cout << "| solver | second derivatives of f | g in y | derivatives | samples | options "
               "|\n|---|---|---|---|---|---|\n";
  for (const SolverEntry& entry : solver_registry()) {
    const Assumptions& a = entry.assumptions;
    std::cout << fmt::format("| {} | {} | {} | {} | {} | {} |\n", entry.name, words_of(a.smoothness),
                             words_of(a.convexity), words_of(a.noise), words_of(a.sampling), a.of_options);
  }
}

void list_problems() {
  std::cout << "problems:\n";
  for (const KnownProblemEntry& entry : known_problem_registry()) {
    std::cout << fmt::format("  {:<16} {}\n", entry.name, entry.summary);
    list_options(fields_of(*entry.make()), "    ", /*of_problem=*/true);
  }
}

void list_encoders() {
  std::cout << "encoders:\n";
  for (const EncoderEntry& entry : encoder_registry()) {
    std::cout << fmt::format("  {:<14} {}\n", entry.name, entry.summary);
    list_options(fields_of(*entry.make()), "    ");
  }
}

void list_jobs() {
  std::cout << "jobs:\n";
  for (const JobEntry& entry : job_registry())
    std::cout << fmt::format("  {:<14} {}\n", entry.name, entry.summary);
}

/// Of a job or a solver.
void list_options_of(const std::string& name, bool markdown) {
  const auto show = [&](const Fields& fields) {
    markdown ? void(std::cout << options_table(fields)) : list_options(fields, "");
  };
  if (const JobEntry* job = job_registry().find(name)) {
    JobFlags flags(*job);
    return show(fields_of(flags));
  }
  if (const SolverEntry* solver = solver_registry().find(name)) return show(fields_of(*solver->make()));
  throw InputError(fmt::format("there is no job or solver '{}'; jobs: {}; solvers: {}", name,
                               fmt::join(job_registry().names(), ", "),
                               fmt::join(solver_registry().names(), ", ")));
}

}  // namespace

void add_list(CLI::App& program, Body& body) {
  struct Arguments {
    std::string what, name;
    bool markdown = false;
  };
  auto given = std::make_shared<Arguments>();
  CLI::App* c = program.add_subcommand(
      "list", "list solvers and problems (with their options), what theories assume, encoders or jobs");
  c->add_option("what", given->what,
                "solvers, options (of the solver or job NAME), assumptions (of the solvers' theories), "
                "encoders, jobs or problems; all when left out")
      ->check(CLI::IsMember({"solvers", "options", "assumptions", "encoders", "jobs", "problems"}));
  c->add_option("name", given->name, "the solver or job whose options are listed");
  c->add_flag("--markdown", given->markdown,
              "as a table for a Markdown page (solvers, options, assumptions)");
  c->callback([given, &body] {
    body = [given] {
      const auto& [what, name, markdown] = *given;
      if ((what == "options") == name.empty()) {
        throw InputError("a NAME belongs to 'list options NAME', and nowhere else");
      }
      if (markdown && what != "solvers" && what != "options" && what != "assumptions") {
        throw InputError(
            "--markdown: only 'list solvers', 'list options NAME' and 'list assumptions' have a Markdown "
            "form");
      }
      if (what == "options") {
        list_options_of(name, markdown);
        return static_cast<int>(kDone);
      }
      if (markdown) {
        what == "solvers" ? list_solvers_as_markdown() : list_assumptions_as_markdown();
        return static_cast<int>(kDone);
      }
      if (what == "assumptions") list_assumptions();
      if (what.empty() || what == "solvers") list_solvers();
      if (what.empty() || what == "encoders") list_encoders();
      if (what.empty() || what == "jobs") list_jobs();
      if (what.empty() || what == "problems") list_problems();
      return static_cast<int>(kDone);
    };
  });
}

}  // namespace bilevel::cli
