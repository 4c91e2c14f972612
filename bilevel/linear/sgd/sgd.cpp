#include "bilevel/linear/sgd/sgd.h"

#include "bilevel/core/flat.h"

namespace bilevel {

LinearSolution linear_sgd(const LinearOperator& hessian, const torch::Tensor& b, const torch::Tensor& start,
                          double step_size, int64_t steps) {
  const torch::Tensor z = start.clone();
  torch::Tensor residual = flat_norm(b);
  for (int64_t k = 0; k < steps; ++k) {
    const torch::Tensor r = copy_of(hessian(z));  // which may be z itself
    axpy(-1, b, r);
    residual = flat_norm(r);
    axpy(-step_size, r, z);
  }
  return {.z = z, .residual = residual, .products = steps};
}

}  // namespace bilevel
