#include "bilevel/hypergrad/finite_difference/finite_difference.h"

#include <cmath>
#include <functional>

namespace bilevel {
namespace {

using torch::Tensor;

/// (derivative(y + eps v) - derivative(y - eps v)) / (2 eps) with eps ||v|| = step (1 + ||y||).
Tensor central_difference(Oracles& oracles, const Tensor& v, double step, const Tensor& zero,
                          const std::function<Tensor()>& derivative) {
  const double length = v.norm().item<double>();
  if (length == 0) return zero;
  const Tensor x = oracles.x().flat().clone();
  const Tensor y = oracles.y().flat().clone();
  if (step == 0) step = std::cbrt(unit_round_off(y.scalar_type()));
  const double eps = step * (1 + y.norm().item<double>()) / length;
  const auto at = [&](double shift) {
    const PointScope moved(oracles, x, y + shift * v);
    return derivative();
  };
  return (at(eps) - at(-eps)) / (2 * eps);
}

}  // namespace

void FiniteDifferenceOptions::fields(Fields& f) {
  f.number("difference_step", difference_step, kNonNegative,
           "length of the move in y relative to 1 + ||y||; 0: the cube root of the unit of rounding");
  linear.fields(f);
}

Tensor difference_hvp(Oracles& oracles, const Sample& lower, const Tensor& v, double step) {
  return central_difference(oracles, v, step, torch::zeros_like(v),
                            [&] { return oracles.lower().gradient_in_y(lower); });
}

Tensor difference_cross(Oracles& oracles, const Sample& lower, const Tensor& v, double step) {
  return central_difference(oracles, v, step, torch::zeros_like(oracles.x().flat()),
                            [&] { return oracles.lower().gradient(lower).x; });
}

Estimate finite_difference_estimate(Oracles& oracles, const Sample& upper, const Sample& lower,
                                    const FiniteDifferenceOptions& options) {
  const EstimateScope scope(oracles);
  const JointGradient f = oracles.upper().gradient(upper);
  const LinearSolution linear = solve_linear(
      [&](const Tensor& v) { return difference_hvp(oracles, lower, v, options.difference_step); }, f.y,
      options.linear);
  if (linear.failed) return scope.finish({}, linear.residual, true, linear.message);
  return scope.finish(f.x - difference_cross(oracles, lower, linear.z, options.difference_step),
                      linear.residual, false, linear.message);
}

}  // namespace bilevel
