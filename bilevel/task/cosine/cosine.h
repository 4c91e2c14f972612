// A bounded, smooth problem whose upper objective is concave in y: only the composed objective has a minimum.
#pragma once

#include "bilevel/task/known_problem.h"

namespace bilevel {

/// f = sum cos x_i + x'y - ||y||^2/2,  g = ||y - x||^2/2 (float64). y* = x, Phi = sum cos x_i + x_i^2/2,
/// grad Phi_i = x_i - sin x_i, x* = 0, where the Hessian of Phi vanishes: near it, progress is slow. x starts
/// at 2, y at 0.
KnownProblemEntry cosine_entry();

}  // namespace bilevel
