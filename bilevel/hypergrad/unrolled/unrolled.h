// The hypergradient of f(x, y_K(x)) through K steps of gradient descent on y.
#pragma once

#include "bilevel/core/fields.h"
#include "bilevel/hypergrad/estimate.h"

namespace bilevel {

struct UnrolledOptions {
  StepSize lower_step_size = {};  ///< eta_y; auto: 1/l with l the largest curvature at the present point
  int64_t lower_steps = 100;      ///< K
  int64_t truncation = 0;         ///< backward steps, the last ones; 0: all K

  void fields(Fields& fields);
};

/// Bytes of the iterates that the backward part reads: min(K, truncation) flat lower variables. Beside them
/// lives the graph of one point. Ask before running.
int64_t unrolled_memory_bytes(int64_t lower_size, int64_t element_size, const UnrolledOptions& options);

/// From the present y, with x fixed: y_{k+1} = y_k - eta_y grad_y G(x, y_k) for k < K, then the adjoint
/// recursion over the stored iterates (Domke 2012; Franceschi et al. 2017, reverse mode),
///   lambda_K = grad_y F(x, y_K),  h = grad_x F(x, y_K);
///   for k = K-1, ..., 0:  h <- h - eta_y (d2G/dxdy)(x, y_k) lambda_{k+1},
///                         lambda_k = lambda_{k+1} - eta_y (d2G/dy2)(x, y_k) lambda_{k+1},
/// from cross and Hessian-vector products; y_0 is taken as constant. With all K backward steps h is the exact
/// derivative of f(x, y_K(x)). With `truncation` M only the last M of them are made (Shaban et al. 2019). One
/// sample a level serves all steps. `residual` is ||lambda_{K-M}||, the part of the adjoint that was not
/// carried further: where all y_k are y*, exactly ||b - H z|| of the Neumann sum that h then is. Cost: K
/// lower_gradient, 1 upper_gradient, M hvp, M cross_vjp, and at most 20 hvp for an automatic step. x and y
/// are afterwards what they were.
Estimate unrolled_estimate(Oracles& oracles, const Sample& upper, const Sample& lower,
                           const UnrolledOptions& options);

}  // namespace bilevel
