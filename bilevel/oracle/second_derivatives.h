// Which parameters the lower loss can be differentiated in twice.
#pragma once

#include <string>
#include <vector>

#include "bilevel/oracle/oracles.h"

namespace bilevel {

/// One parameter's second derivative d(grad_y G)/d(parameter).
struct SecondDerivative {
  std::string parameter;  ///< as in messages: "upper parameter 'w'"
  std::string failure;    ///< LibTorch's words when it cannot be computed; empty: it can
  bool vanishes = false;  ///< it can, and is zero: piecewise linear in it, or the backward pass of some layer
                          ///< keeps no graph (`check` tells these two apart)
};

/// Tries d<grad_y G, v>/d(parameter) for a random v and every parameter of y, unless the problem supplies the
/// lower Hessian, and of x, each by itself: one forward pass, one gradient with its graph, one backward pass
/// a parameter. A layer whose backward pass cannot be differentiated shows in all parameters that the loss
/// sees through it.
std::vector<SecondDerivative> second_derivatives(Oracles& oracles, const Sample& lower);

}  // namespace bilevel
