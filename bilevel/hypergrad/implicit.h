// The implicit hypergradient grad f_x - (d2g/dxdy) z with (d2g/dy2) z = grad f_y, over any solver of the
// linear system.
#pragma once

#include <functional>

#include "bilevel/linear/linear.h"
#include "bilevel/oracle/oracles.h"

namespace bilevel {

/// b -> an approximate solution z of H z = b, with whatever samples the caller has bound.
using LinearSolve = std::function<LinearSolution(const torch::Tensor& b)>;

/// An estimate of the hypergradient at the present (x, y).
struct Hypergradient {
  torch::Tensor value;       ///< flat [dim x]
  torch::Tensor upper_loss;  ///< F on the upper sample, 0-dim
  LinearSolution linear;     ///< z with its residual and cost
};

/// grad_x F(xi) - (d2G(zeta)/dxdy) z with z = solve(grad_y F(xi)), given both points, whose graphs it frees.
/// One backward pass in y for b, what `solve` needs, and one backward pass in x. When the solve failed there
/// is no estimate: `value` is NaN, not the rest of the formula.
Hypergradient implicit_hypergradient(Oracles& oracles, LossPoint& upper, LossPoint& lower,
                                     const LinearSolve& solve);

/// H v at the present point, with a fresh lower sample from `stream` at every call (none when the problem
/// supplies a constant lower Hessian). One forward pass without graph through x, one gradient, one product.
LinearOperator sampled_hessian(Oracles& oracles, const std::string& stream);

/// H v at one point, reusing its graph. The point must outlive the operator.
LinearOperator point_hessian(LossPoint& point);

}  // namespace bilevel
