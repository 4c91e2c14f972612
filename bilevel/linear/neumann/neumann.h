// Truncated Neumann series for z = H^-1 b.
#pragma once

#include "bilevel/linear/linear.h"

namespace bilevel {

/// z_Q = step_size * sum_{q=0}^{Q-1} prod_{j=1}^{q} (I - step_size H_j) b, in the nested form
/// p_0 = b, p_q = p_{q-1} - step_size H_q p_{q-1}, z = step_size * sum_q p_q.
///
/// `hessian` is called Q-1 times; a fresh independent sample at each call makes the estimate unbiased for the
/// truncated series of the mean Hessian: the same expectation as with doubly indexed samples, at Q-1 instead
/// of Q(Q-1)/2 products; only the variance differs. For constant H, H^-1 b - z_Q = (I - step_size H)^Q H^-1
/// b. `residual` is ||p_{Q-1}||, the residual of z_{Q-1}.
/// @param step_size the scale eta_N, at most 1/l for the largest eigenvalue l of H.
/// @param terms Q >= 1, the number of summands; the first (q = 0) is step_size * b.
LinearSolution neumann(const LinearOperator& hessian, const torch::Tensor& b, double step_size,
                       int64_t terms);

/// One summand in place of the sum (Ghadimi and Wang 2018): z = Q step_size prod_{j=1}^{p} (I - step_size H_j) b
/// for a p that the caller drew uniformly from {0, ..., Q-1}. The factor Q makes the mean that of `neumann`.
/// p products. `residual` is not known: undefined.
LinearSolution neumann_random_truncation(const LinearOperator& hessian, const torch::Tensor& b,
                                         double step_size, int64_t terms, int64_t p);

}  // namespace bilevel
