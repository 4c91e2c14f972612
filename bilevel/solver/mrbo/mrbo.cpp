#include "bilevel/solver/mrbo/mrbo.h"

namespace bilevel {

SolverEntry mrbo_entry() {
  return solver_entry<Mrbo>({.summary = "recursive momentum on x and y, Neumann hypergradient; one loop",
                             .documented_calls = by_options<Mrbo>(Mrbo::calls),
                             .assumptions = {.sampling = Sampling::mean_square}});
}

}  // namespace bilevel
