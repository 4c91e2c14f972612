// Quadratics with x in a box.
#pragma once

#include "bilevel/task/known_problem.h"

namespace bilevel {

/// The random quadratics of `Quadratic` with low <= x_i <= high (float64). Phi is a strongly convex
/// quadratic, so x* is its minimizer in the box, found by coordinate descent to round-off. x starts at the
/// nearest point of the box to 1, y at 1.
KnownProblemEntry box_entry();

}  // namespace bilevel
