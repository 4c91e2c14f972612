// Adds the solver of docs/add-a-solver.md to the registry of the program that this object is linked into.
#include "bilevel/solver/registry.h"

namespace bilevel {

SolverEntry aid_cg_entry();

[[maybe_unused]] static const bool added = (solver_registry().add(aid_cg_entry()), true);

}  // namespace bilevel
