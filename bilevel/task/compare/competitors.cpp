#include "bilevel/task/compare/competitors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>
#include <set>

#include "bilevel/core/error.h"
#include "bilevel/solver/registry.h"
#include "bilevel/task/job/job_options.h"

namespace bilevel {
namespace {

bool is_label(const std::string& text) {
  return !text.empty() &&
         text.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") ==
             std::string::npos;
}

bool has_option(const std::string& solver, const std::string& name) {
  const std::unique_ptr<Solver> made = make_solver(solver);
  return fields_of(*made).find(name) != nullptr;
}

std::vector<Competitor> named_competitors(const std::string& solvers) {
  std::vector<Competitor> competitors;
  const auto no_names = [&] {
    throw InputError(fmt::format("solvers = {}: must be names, separated by commas, or all", solvers));
  };
  if (solvers.empty()) no_names();
  if (solvers == "all") {
    for (const SolverEntry& entry : solver_registry()) competitors.push_back({entry.name, entry.name, {}});
    return competitors;
  }
  for (const std::string& word : split_list(solvers)) {
    const size_t equals = word.find('=');
    Competitor c{.label = word.substr(0, equals),
                 .solver = equals == std::string::npos ? word : word.substr(equals + 1),
                 .set = {}};
    if (c.solver.empty() && c.label.empty()) no_names();
    solver_registry().at(c.solver);
    if (!is_label(c.label)) {
      throw InputError(
          fmt::format("solvers: the name '{}' must consist of letters, digits, '-' and '_'", c.label));
    }
    competitors.push_back(std::move(c));
  }
  return competitors;
}

/// Gives an option to those that it is meant for.
void assign(std::vector<Competitor>& competitors, const std::set<std::string>& labels,
            const std::string& given) {
  const std::string key = given.substr(0, given.find('='));
  if (given.find('=') == std::string::npos || key.empty())
    throw InputError(fmt::format("'{}' is not of the form key=value or solver.key=value", given));
  const size_t dot = key.find('.');
  const std::string who = dot == std::string::npos ? "" : key.substr(0, dot);
  const std::string assignment = dot == std::string::npos ? given : given.substr(dot + 1);
  bool used = false;
  for (Competitor& c : competitors) {
    const bool is_meant = who.empty() ? has_option(c.solver, key)
                                      : c.label == who || (c.solver == who && labels.count(who) == 0);
    if (!is_meant) continue;
    used = true;
    const std::unique_ptr<Solver> solver = make_solver(c.solver);
    in_context(c.label, [&] { fields_of(*solver).set_text(assignment); });
    c.set.push_back(assignment);
  }
  if (used) return;
  const std::string known = fmt::format("{}", fmt::join(labels, ", "));
  throw InputError(who.empty()
                       ? fmt::format("there is no option '{}' in any of the solvers {}", key, known)
                       : fmt::format("--set {}: there is no competitor '{}'; known: {}", given, who, known));
}

}  // namespace

std::vector<Competitor> parse_competitors(const std::string& solvers, const std::vector<std::string>& set) {
  std::vector<Competitor> competitors = named_competitors(solvers);
  std::set<std::string> labels;
  for (const Competitor& c : competitors) {
    if (!labels.insert(c.label).second) {
      throw InputError(fmt::format(
          "solvers: '{}' stands there twice; give one of them a name of its own, as in 'other={}'", c.label,
          c.solver));
    }
  }
  for (const std::string& given : set) assign(competitors, labels, given);
  return competitors;
}

}  // namespace bilevel
