#include "bilevel/linear/neumann/neumann.h"

#include "bilevel/core/flat.h"

namespace bilevel {

LinearSolution neumann(const LinearOperator& hessian, const torch::Tensor& b, double step_size,
                       int64_t terms) {
  const torch::Tensor p = copy_of(b), z = zeros_of(b);
  axpy(step_size, b, z);
  for (int64_t q = 1; q < terms; ++q) {
    axpy(-step_size, hessian(p), p);
    axpy(step_size, p, z);
  }
  return {.z = z, .residual = flat_norm(p), .products = terms - 1};
}

LinearSolution neumann_random_truncation(const LinearOperator& hessian, const torch::Tensor& b,
                                         double step_size, int64_t terms, int64_t p) {
  const torch::Tensor product = copy_of(b);
  for (int64_t j = 1; j <= p; ++j) axpy(-step_size, hessian(product), product);
  const torch::Tensor z = zeros_of(b);
  axpy(static_cast<double>(terms) * step_size, product, z);
  return {.z = z, .residual = {}, .products = p};
}

}  // namespace bilevel
