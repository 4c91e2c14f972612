// A lower level with a flat valley of minimizers across the coordinates.
#pragma once

#include "bilevel/task/known_problem.h"

namespace bilevel {

/// With y = (u, v), e all ones:  g = ||u + v - x||^2/2,  f = (||u + e||^2 + ||v - 2x||^2)/2 (float64). Every
/// y with u + v = x minimizes g. The upper level likes u = -(x + e)/2, v = (3x + e)/2 best (the optimistic
/// problem): Phi = ||x - e||^2/4, x* = v*/2 = -u* = e, Phi* = 0. The lower Hessian is singular and grad_y f
/// has a part in its kernel at every other minimizer, so that H z = grad_y f has no solution there. A method
/// that leaves u - v where it starts ends at x = -0.2 e. x and y start at 0.
KnownProblemEntry many_minimizers_entry();

}  // namespace bilevel
