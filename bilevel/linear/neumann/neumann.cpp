#include "bilevel/linear/neumann/neumann.h"

namespace bilevel {

LinearSolution neumann(const LinearOperator& hessian, const torch::Tensor& b, double step_size,
                       int64_t terms) {
  torch::Tensor p = b;
  torch::Tensor sum = b;
  for (int64_t q = 1; q < terms; ++q) {
    p = p - step_size * hessian(p);
    sum = sum + p;
  }
  return {.z = step_size * sum, .residual = p.norm(), .products = terms - 1};
}

LinearSolution neumann_random_truncation(const LinearOperator& hessian, const torch::Tensor& b,
                                         double step_size, int64_t terms, int64_t p) {
  torch::Tensor product = b;
  for (int64_t j = 1; j <= p; ++j) product = product - step_size * hessian(product);
  return {.z = static_cast<double>(terms) * step_size * product, .residual = {}, .products = p};
}

}  // namespace bilevel
