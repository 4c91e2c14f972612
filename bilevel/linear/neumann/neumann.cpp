#include "bilevel/linear/neumann/neumann.h"

#include "bilevel/core/flat.h"

namespace bilevel {

LinearSolution neumann(const LinearOperator& hessian, const torch::Tensor& b, double step_size,
                       int64_t terms) {
  const torch::Tensor p = b.clone(), z = step_size * b;
  for (int64_t q = 1; q < terms; ++q) {
    add_scaled(p, hessian(p), -step_size);
    add_scaled(z, p, step_size);
  }
  return {.z = z, .residual = flat_norm(p), .products = terms - 1, .failed = false, .message = ""};
}

LinearSolution neumann_doubly_indexed(const LinearOperator& hessian, const torch::Tensor& b, double step_size,
                                      int64_t terms) {
  torch::Tensor p = b;
  torch::Tensor sum = b;
  for (int64_t q = 1; q < terms; ++q) {
    p = b;
    for (int64_t j = 1; j <= q; ++j) p = p - step_size * hessian(p);
    sum = sum + p;
  }
  return {.z = step_size * sum,
          .residual = p.norm(),
          .products = terms * (terms - 1) / 2,
          .failed = false,
          .message = ""};
}

LinearSolution neumann_random_truncation(const LinearOperator& hessian, const torch::Tensor& b,
                                         double step_size, int64_t terms, int64_t p) {
  torch::Tensor product = b;
  for (int64_t j = 1; j <= p; ++j) product = product - step_size * hessian(product);
  return {.z = static_cast<double>(terms) * step_size * product,
          .residual = {},
          .products = p,
          .failed = false,
          .message = ""};
}

}  // namespace bilevel
