#include "bilevel/task/known_problem.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "bilevel/core/error.h"
#include "bilevel/task/p1/p1.h"
#include "bilevel/task/quadratic/quadratic.h"

namespace bilevel {

const std::vector<KnownProblemEntry>& known_problem_registry() {
  static const std::vector<KnownProblemEntry> entries{quadratic_entry(), p1_entry()};
  return entries;
}

std::unique_ptr<KnownProblem> make_known_problem(const std::string& name) {
  std::vector<std::string> names;
  for (const KnownProblemEntry& entry : known_problem_registry()) {
    if (entry.name == name) return entry.make();
    names.push_back(entry.name);
  }
  throw InputError(fmt::format("there is no problem '{}'; known: {}", name, fmt::join(names, ", ")));
}

}  // namespace bilevel
