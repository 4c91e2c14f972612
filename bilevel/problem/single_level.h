// Problems without a lower variable of their own.
#pragma once

#include "bilevel/problem/problem.h"

namespace bilevel {

/// min over x of f(x), as a bilevel problem: y is one number at rest, with g = y^2 / 2 minimized at its start 0 and
/// f free of it. For upper objectives that solve their lower level themselves and whose gradient is the
/// hypergradient already; every solver then is its upper rule alone, its work on y and z is arithmetic on one number.
Problem single_level(Level upper);

}  // namespace bilevel
