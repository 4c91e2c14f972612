#include "bilevel/linear/cg/cg.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace bilevel {
namespace {

constexpr const char* kNotFinite = "met a number that is not finite";

std::string unfinished(const char* method, double relative_residual, int64_t products) {
  return fmt::format("{} stopped at a relative residual of {:.3g} after {} products", method,
                     relative_residual, products);
}

/// ||t||^2 in float64: of H'H, float32 overflows.
double squared_length(const torch::Tensor& t) {
  const torch::Tensor wide = t.to(torch::kFloat64);
  return wide.dot(wide).item<double>();
}

}  // namespace

LinearSolution conjugate_gradients(const LinearOperator& hessian, const torch::Tensor& b,
                                   const CgOptions& options) {
  LinearSolution solution{.z = torch::zeros_like(b), .residual = b.norm()};
  torch::Tensor r = b.clone();
  torch::Tensor p = r.clone();
  double rr = r.dot(r).item<double>();
  const double norm_b = std::sqrt(rr);
  const double goal = options.tolerance * norm_b;
  const auto fail = [&](const std::string& message) {
    solution.failed = true;
    solution.message = "conjugate gradients " + message;
    return solution;
  };
  if (!std::isfinite(rr)) return fail(kNotFinite);
  for (int64_t k = 0; k < options.max_iterations && std::sqrt(rr) > goal; ++k) {
    const torch::Tensor hp = hessian(p);
    ++solution.products;
    const double curvature = p.dot(hp).item<double>();
    if (!std::isfinite(curvature)) return fail(kNotFinite);
    if (curvature <= 0) {
      return fail(
          fmt::format("met a direction of curvature {:.3g} after {} products: the lower Hessian is not "
                      "positive definite here",
                      curvature / p.dot(p).item<double>(), solution.products));
    }
    const double alpha = rr / curvature;
    const torch::Tensor r_next = r - alpha * hp;
    const double rr_next = r_next.dot(r_next).item<double>();
    if (!std::isfinite(rr_next)) return fail(kNotFinite);
    solution.z = solution.z + alpha * p;
    r = r_next;
    solution.residual = r.norm();
    p = r + (rr_next / rr) * p;
    rr = rr_next;
  }
  if (std::sqrt(rr) > goal) {
    solution.message = unfinished("conjugate gradients", std::sqrt(rr) / norm_b, solution.products);
  }
  return solution;
}

LinearSolution conjugate_gradients_normal(const LinearOperator& matrix, const LinearOperator& transposed,
                                          const torch::Tensor& b, const CgOptions& options) {
  constexpr const char* kName = "conjugate gradients on the normal equations";
  LinearSolution solution{.z = torch::zeros_like(b), .residual = b.norm()};
  const auto fail = [&](const std::string& message) {
    solution.failed = true;
    solution.message = fmt::format("{} {}", kName, message);
    return solution;
  };
  torch::Tensor r = b.clone();
  const double norm_b = r.norm().item<double>();
  double norm_r = norm_b;
  const double goal = options.tolerance * norm_b;
  if (!std::isfinite(norm_b)) return fail(kNotFinite);
  if (norm_b <= goal) return solution;
  torch::Tensor s = transposed(r);  // H'r, the negative gradient of ||b - H z||^2 / 2
  ++solution.products;
  torch::Tensor p = s.clone();
  double ss = squared_length(s);
  const double unit = unit_round_off(b.scalar_type());
  double scale = std::sqrt(ss) / norm_b;  // a lower bound of ||H||
  for (int64_t k = 0; k < options.max_iterations && norm_r > goal; ++k) {
    if (!std::isfinite(ss)) return fail(kNotFinite);
    if (std::sqrt(ss) <= 8 * unit * scale * norm_r) {
      return fail(fmt::format(
          "ended at a least-squares solution with a relative residual of {:.3g} after {} products: the lower "
          "Hessian is singular, or nearly so, and H z = b has no solution here",
          norm_r / norm_b, solution.products));
    }
    const torch::Tensor q = matrix(p);
    ++solution.products;
    const double qq = squared_length(q);
    if (!std::isfinite(qq)) return fail(kNotFinite);
    if (qq == 0) return fail("met a direction that the lower Hessian maps to zero: it is singular here");
    scale = std::max(scale, std::sqrt(qq / squared_length(p)));
    const double alpha = ss / qq;
    solution.z = solution.z + alpha * p;
    r = r - alpha * q;
    solution.residual = r.norm();
    norm_r = solution.residual.item<double>();
    s = transposed(r);
    ++solution.products;
    const double ss_next = squared_length(s);
    p = s + (ss_next / ss) * p;
    ss = ss_next;
  }
  if (!std::isfinite(norm_r)) return fail(kNotFinite);
  if (norm_r > goal) solution.message = unfinished(kName, norm_r / norm_b, solution.products);
  return solution;
}

LinearSolution conjugate_gradients_normal(const LinearOperator& hessian, const torch::Tensor& b,
                                          const CgOptions& options) {
  return conjugate_gradients_normal(hessian, hessian, b, options);
}

}  // namespace bilevel
