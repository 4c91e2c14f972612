// The curvature of the lower objective, for step sizes nobody has to guess.
#pragma once

#include "bilevel/oracle/oracles.h"

namespace bilevel {

/// The largest curvature of g in y that was found, and how.
struct Curvature {
  double largest = 0;    ///< the eigenvalue of d2G/dy2 of the largest absolute value; may be negative
  int64_t products = 0;  ///< Hessian-vector products spent
};

/// Power iteration on Hessian-vector products at the present (x, y): three independent samples from the
/// stream "curvature" (one when the lower Hessian needs no data or every batch is the whole data set), each
/// iterated until the Rayleigh quotient changes by less than 0.1 % or 50 products are spent; the quotient of
/// largest absolute value is returned. Counted under Purpose::automatic.
Curvature largest_curvature(Oracles& oracles);

/// 1 / largest_curvature for a step size that was left at auto. Throws InputError naming `field` when the
/// curvature found is not positive and finite, since no step size follows from it then.
double automatic_step_size(const Curvature& curvature, const std::string& field);

}  // namespace bilevel
