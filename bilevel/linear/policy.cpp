#include "bilevel/linear/policy.h"

#include <fmt/format.h>

#include <cmath>

namespace bilevel {
namespace {

bool finite(const torch::Tensor& t) { return t.isfinite().all().item<bool>(); }

/// The method's answer; numbers that are not finite are a failure.
LinearSolution attempt(const LinearMethod& method, const LinearOperator& hessian, const torch::Tensor& b) {
  LinearSolution solution = method(hessian, b);
  if (!solution.failed && !finite(solution.z)) {
    solution.failed = true;
    solution.message = "the solution of the linear system is not finite";
  }
  return solution;
}

LinearSolution damped(const LinearMethod& method, const LinearOperator& hessian, const torch::Tensor& b,
                      const LinearPolicy& policy, LinearSolution failure) {
  const double norm_b = b.norm().item<double>();
  if (!std::isfinite(norm_b) || norm_b == 0) return failure;  // no damping helps
  const double scale = hessian(b).norm().item<double>() / norm_b;
  int64_t products = failure.products + 1;
  double damping = std::isfinite(scale) && scale > 0 ? policy.damping * scale : policy.damping;
  for (int64_t k = 0; k < policy.damping_attempts; ++k, damping *= policy.damping_growth) {
    LinearSolution solution = attempt(
        method, [&](const torch::Tensor& v) { return hessian(v) + damping * v; }, b);
    products += solution.products;
    if (solution.failed) continue;
    solution.residual = (b - hessian(solution.z)).norm();
    solution.products = products + 1;
    solution.damping = damping;
    solution.message =
        fmt::format("solved with damping {:.3g} at the attempt {}, since {}{}{}", damping, k + 1,
                    failure.message, solution.message.empty() ? "" : "; ", solution.message);
    return solution;
  }
  failure.products = products;
  failure.message += fmt::format("; damping up to {:.3g} did not help", damping / policy.damping_growth);
  return failure;
}

}  // namespace

void LinearPolicy::fields(Fields& f) {
  f.choice("on_failure", on_failure,
           "when the linear system cannot be solved: error: no estimate; warn: the last iterate is used; "
           "damp: H + damping I is solved instead");
  f.number("damping", damping, kPositive, "first damping, relative to ||H b||/||b||");
  f.number("damping_growth", damping_growth, {.low = 1, .low_open = true},
           "factor from one damping to the next");
  f.integer("damping_attempts", damping_attempts, kAtLeastOne, "how often damping is tried");
}

LinearSolution solve_with_policy(const LinearMethod& method, const LinearOperator& hessian,
                                 const torch::Tensor& b, const LinearPolicy& policy) {
  LinearSolution solution = attempt(method, hessian, b);
  if (!solution.failed || policy.on_failure == OnFailure::error) return solution;
  if (policy.on_failure == OnFailure::damp) return damped(method, hessian, b, policy, std::move(solution));
  if (finite(solution.z) && solution.z.count_nonzero().item<int64_t>() > 0) {
    solution.failed = false;
    solution.message = "warning: the last iterate is used although " + solution.message;
  } else {
    solution.message += "; there is no iterate to go on with";
  }
  return solution;
}

}  // namespace bilevel
