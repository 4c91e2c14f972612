// The gradient of the penalty reformulation: first derivatives and two lower minimizations.
#pragma once

#include "bilevel/core/fields.h"
#include "bilevel/hypergrad/estimate.h"
#include "bilevel/hypergrad/minimize.h"

namespace bilevel {

struct ValueFunctionOptions {
  double multiplier = 1e3;        ///< lambda; the bias falls as 1/lambda, cancellation grows with lambda
  int64_t max_gradients = 20000;  ///< of each of the two minimizations
  double length = 1;              ///< see `MinimizeOptions::length`

  void fields(Fields& fields);
};

/// grad_x F(x, y_lambda) + lambda (grad_x G(x, y_lambda) - grad_x G(x, w)), the gradient of
/// min over y of F + lambda (G - min G) (Kwon et al. 2023, F2SA; Liu et al. 2022), with w a minimum of G(x,
/// .) and y_lambda one of G + F / lambda, found from the present y by `minimize`. Bias O(1/lambda): z of the
/// implicit hypergradient is -lambda (y_lambda - w) in the limit. `residual` is lambda times the gradient
/// norms of both minimizations. Cost: lower_gradient and upper_gradient as the minimizations need, 2
/// lower_joint_gradient, 1 upper_gradient. Fails when a minimization does not converge. x and y are
/// afterwards what they were.
Estimate value_function_estimate(Oracles& oracles, const Sample& upper, const Sample& lower,
                                 const ValueFunctionOptions& options);

}  // namespace bilevel
