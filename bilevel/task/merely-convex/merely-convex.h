// A lower level that is convex but not strongly convex (the sl-BAMM paper's first numerical problem).
#pragma once

#include "bilevel/task/known_problem.h"

namespace bilevel {

/// With y = (u, v), e all ones:  g = ||u||^2/2 - x'u,  f = ||x - v||^2/2 + ||u - e||^2/2 (float64). v is free
/// in g: every (x, v) minimizes it, and the upper level likes v = x best. Then Phi = ||x - e||^2/2, x* = u* =
/// v* = e, f* = 0, g* = -n/2. x and y start at 0.01.
KnownProblemEntry merely_convex_entry();

}  // namespace bilevel
