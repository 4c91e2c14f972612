// Solvers for runs from Python.
#pragma once

#include <memory>

#include "bilevel/solver/solver.h"

namespace bilevel::python {

/// A solver of either language, for one run.
struct SolverHandle {
  std::shared_ptr<Solver> solver;
  /// Tells Python's objects that the run is over.
  std::function<void()> end = [] {};
};

}  // namespace bilevel::python
