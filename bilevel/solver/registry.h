// Solvers by name: those of the folders of bilevel/solver/, and those that a program adds.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "bilevel/core/registry.h"
#include "bilevel/solver/assumptions.h"
#include "bilevel/solver/solver.h"

namespace bilevel {

/// How a method moves x, which says what its upper step size is.
enum class Movement {
  plain,       ///< the factor of a (corrected, averaged) estimate of the hypergradient
  normalized,  ///< the length of a step
  adaptive,    ///< about what every coordinate of x moves by, as in Adam
};

/// One solver as the command line, the conformance tests and the documentation see it.
struct SolverEntry {
  std::string name;                               ///< as in `--solver`
  std::string summary;                            ///< one line
  std::function<std::unique_ptr<Solver>()> make;  ///< with default options
  /// Documented oracle calls of `steps` steps under the options that the solver has now, without warm start and
  /// without having run: for a random estimate the expected number, rounded down.
  std::function<OracleCounts(Solver& solver, int64_t steps)> documented_calls = nullptr;
  /// Whether these are upper bounds, since the cost depends on the data (an inner loop that ends early).
  bool calls_are_a_bound = false;
  /// How it moves x; the jobs choose their default step sizes by it.
  Movement movement = Movement::plain;
  /// What its theory covers with the options that the tables show, its defaults.
  Assumptions assumptions = {};
  /// Changes that to what it covers with other options, and adds to `broken` what they break on a problem; none: the
  /// options change nothing.
  std::function<void(Solver& solver, const ProblemTraits& traits, Assumptions& assumptions)> under_options =
      nullptr;
  /// Options to set where g is strongly convex in y, for a method whose defaults are its form for other
  /// cases.
  nlohmann::json strongly_convex_options = nlohmann::json::object();
  /// Whether y moves down f too (a mixture, a penalty), so that after finitely many steps it does not minimize g.
  bool lower_descends_upper = false;
  /// Whether its estimate of the hypergradient is random even where every oracle is exact (a series truncated
  /// at random), so that it ends near a solution and not at it.
  bool random_estimate = false;
};

/// All solvers. One that is added (`solver_registry().add({.name = "mine", ...})`) is known to `make_solver`, the jobs,
/// `compare` and the command line of the program that adds it.
Registry<SolverEntry>& solver_registry();

/// A solver with default options. Throws InputError, naming the known ones, for an unknown name.
std::unique_ptr<Solver> make_solver(const std::string& name);

}  // namespace bilevel
