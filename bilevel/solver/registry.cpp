#include "bilevel/solver/registry.h"

namespace bilevel {

std::unique_ptr<Solver> make_solver(const std::string& name) { return solver_registry().at(name).make(); }

}  // namespace bilevel
