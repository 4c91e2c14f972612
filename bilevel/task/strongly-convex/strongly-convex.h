// Quadratics with a strongly convex lower level (the sl-BAMM paper's second numerical problem).
#pragma once

#include "bilevel/task/known_problem.h"

namespace bilevel {

/// g = y'Ay/2 - x'By,  f = y'Ay/2 + (x - e)'D(x - e)/2 with e all ones (float64). y* = A^-1 B'x,
/// grad Phi = B A^-1 B'x + D(x - e), x* = (B A^-1 B' + D)^-1 D e. Form `identity`: A = B = D = I, so x* = y*
/// = e/2 and Phi* = n/4. Form `general`: A with eigenvalues U(1, 2) and D with U(0, 1), each in random
/// directions, B with entries U(0, 1), all drawn from the seed. x and y start at 2.
KnownProblemEntry strongly_convex_entry();

}  // namespace bilevel
