// Dense solution of H z = b, for tests and small problems.
#pragma once

#include "bilevel/linear/linear.h"

namespace bilevel {

/// Builds H column by column from dim(b) products and solves by LU factorization in float64. Memory 8 dim^2
/// bytes. Fails when H is singular to working precision or holds a number that is not finite; z then is NaN.
/// `residual` is computed from the dense matrix.
LinearSolution exact_solve(const LinearOperator& hessian, const torch::Tensor& b);

}  // namespace bilevel
