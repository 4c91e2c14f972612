#include "bilevel/solver/registry.h"

#include <fmt/format.h>

#include "bilevel/core/error.h"

namespace bilevel {

const SolverEntry& solver_entry(const std::string& name) {
  std::string known;
  for (const SolverEntry& entry : solver_registry()) {
    if (entry.name == name) return entry;
    known += (known.empty() ? "" : ", ") + entry.name;
  }
  throw InputError(fmt::format("there is no solver '{}'; known: {}", name, known));
}

std::unique_ptr<Solver> make_solver(const std::string& name) { return solver_entry(name).make(); }

}  // namespace bilevel
