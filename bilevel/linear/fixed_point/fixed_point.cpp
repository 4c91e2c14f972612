#include "bilevel/linear/fixed_point/fixed_point.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "bilevel/core/error.h"

namespace bilevel {

LinearSolution fixed_point(const LinearOperator& hessian, const torch::Tensor& b,
                           const FixedPointOptions& options) {
  if (!(options.step_size > 0) || !std::isfinite(options.step_size)) {
    throw InputError(fmt::format("the step size of the fixed-point iteration is {:g}, but must be > 0",
                                 options.step_size));
  }
  const double unit = unit_round_off(b.scalar_type());
  LinearSolution solution;
  solution.z = options.start.defined() ? options.start.clone() : torch::zeros_like(b);
  solution.residual = b.norm();
  const double norm_b = solution.residual.item<double>();
  const double goal = options.tolerance * norm_b;
  const auto fail = [&](const std::string& message) {
    solution.failed = true;
    solution.message = "the fixed-point iteration " + message;
    return solution;
  };
  if (!std::isfinite(norm_b)) return fail("met a number that is not finite");
  const bool from_zero = !options.start.defined();
  torch::Tensor r = from_zero ? -b : hessian(solution.z) - b;
  if (!from_zero) ++solution.products;
  double smallest = std::numeric_limits<double>::infinity();
  double previous = 0, norm = 0;
  for (int64_t k = 0;; ++k) {
    solution.residual = r.norm();
    previous = norm;
    norm = solution.residual.item<double>();
    if (!std::isfinite(norm)) return fail("met a number that is not finite");
    if (norm <= goal) return solution;
    smallest = std::min(smallest, norm);
    // The residual's own round-off, with ||H|| at most 2 / step_size.
    const double round_off = 32 * unit * (norm_b + 2 / options.step_size * solution.z.norm().item<double>());
    if (norm > 2 * smallest && norm > round_off) {
      return fail(
          fmt::format("diverges: the residual grew from {:.3g} to {:.3g} ({} products). The step size {:g} "
                      "is too large for the lower Hessian, or it has negative curvature",
                      smallest, norm, solution.products, options.step_size));
    }
    if (k == options.max_iterations) break;
    solution.z = solution.z - options.step_size * r;
    r = hessian(solution.z) - b;
    ++solution.products;
  }
  solution.message = fmt::format(
      "the fixed-point iteration stopped at a relative residual of {:.3g} after {} products, falling by a "
      "factor of {:.6f} an iteration",
      norm / norm_b, solution.products, previous > 0 ? norm / previous : 1.0);
  return solution;
}

}  // namespace bilevel
