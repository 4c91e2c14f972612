// Adds the solver of docs/add-a-solver.md to the registry of the program that this object is linked into.
#include "bilevel/solver/aid-cg/aid-cg.h"

namespace {

[[maybe_unused]] const bool added = (bilevel::solver_registry().add(bilevel::aid_cg_entry()), true);

}  // namespace
