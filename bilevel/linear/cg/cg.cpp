#include "bilevel/linear/cg/cg.h"

#include <fmt/format.h>

#include <cmath>

namespace bilevel {

LinearSolution conjugate_gradients(const LinearOperator& hessian, const torch::Tensor& b,
                                   const CgOptions& options) {
  LinearSolution solution{
      .z = torch::zeros_like(b), .residual = b.norm(), .products = 0, .failed = false, .message = ""};
  torch::Tensor r = b.clone();
  torch::Tensor p = r.clone();
  double rr = r.dot(r).item<double>();
  const double norm_b = std::sqrt(rr);
  const double goal = options.tolerance * norm_b;
  for (int64_t k = 0; k < options.max_iterations && std::sqrt(rr) > goal; ++k) {
    const torch::Tensor hp = hessian(p);
    ++solution.products;
    const double curvature = p.dot(hp).item<double>();
    if (!(curvature > 0)) {
      solution.failed = true;
      solution.message = fmt::format(
          "conjugate gradients met a direction of curvature {:.3g} after {} products: the lower "
          "Hessian is not positive definite here",
          curvature / p.dot(p).item<double>(), solution.products);
      return solution;
    }
    const double alpha = rr / curvature;
    solution.z = solution.z + alpha * p;
    r = r - alpha * hp;
    const double rr_next = r.dot(r).item<double>();
    p = r + (rr_next / rr) * p;
    rr = rr_next;
  }
  solution.residual = r.norm();
  if (!std::isfinite(rr)) {
    solution.failed = true;
    solution.message = "conjugate gradients met a number that is not finite";
  } else if (std::sqrt(rr) > goal) {
    solution.message =
        fmt::format("conjugate gradients stopped at a relative residual of {:.3g} after {} products",
                    std::sqrt(rr) / norm_b, solution.products);
  }
  return solution;
}

}  // namespace bilevel
