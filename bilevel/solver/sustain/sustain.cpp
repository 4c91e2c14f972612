#include "bilevel/solver/sustain/sustain.h"

namespace bilevel {

SolverEntry sustain_entry() {
  return solver_entry<Sustain>(
      {.summary = "recursive momentum on x and y, randomly truncated Neumann hypergradient; one loop",
       .documented_calls = by_options<Sustain>(Sustain::calls),
       .assumptions = {.sampling = Sampling::mean_square},
       .random_estimate = true});
}

}  // namespace bilevel
