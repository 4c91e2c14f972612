#include "bilevel/linear/sgd/sgd.h"

namespace bilevel {

LinearSolution linear_sgd(const LinearOperator& hessian, const torch::Tensor& b, const torch::Tensor& start,
                          double step_size, int64_t steps) {
  torch::Tensor z = start;
  torch::Tensor residual = b.norm();
  for (int64_t k = 0; k < steps; ++k) {
    const torch::Tensor r = hessian(z) - b;
    residual = r.norm();
    z = z - step_size * r;
  }
  return {.z = z, .residual = residual, .products = steps};
}

}  // namespace bilevel
