#include "bilevel/hypergrad/value_function/value_function.h"

namespace bilevel {

using torch::Tensor;

void ValueFunctionOptions::fields(Fields& f) {
  f.number("multiplier", multiplier, kPositive, "weight lambda of the lower objective; bias O(1/lambda)");
  f.integer("max_gradients", max_gradients, kAtLeastOne,
            "evaluations of each of the two minimizations at most");
  f.number("length", length, kPositive, "of a move in y of order one");
}

Estimate value_function_estimate(Oracles& oracles, const Sample& upper, const Sample& lower,
                                 const ValueFunctionOptions& options) {
  const EstimateScope scope(oracles);
  const PointScope restore(oracles, oracles.x().flat(), oracles.y().flat());
  const MinimizeOptions effort{.max_gradients = options.max_gradients, .length = options.length};
  const double lambda = options.multiplier;

  const Minimum w = solve_lower(oracles, lower, effort);
  const Tensor residual_of_w = torch::full({}, lambda * w.gradient_norm, torch::kFloat64);
  if (!w.converged) return scope.finish({}, residual_of_w, true, w.message);
  const Tensor at_w = oracles.lower().gradient(lower).x;

  const Minimum penalized = minimize(
      [&](const Tensor& y) {
        oracles.y().assign(y);
        LossPoint g = oracles.lower().point(lower, Graph::lower_only);
        const JointGradient f = oracles.upper().gradient(upper);
        return std::pair{g.value().item<double>() + f.value.item<double>() / lambda,
                         g.grad_y() + f.y / lambda};
      },
      w.y, effort);
  oracles.y().assign(penalized.y);
  const Tensor residual = residual_of_w + lambda * penalized.gradient_norm;
  if (!penalized.converged) {
    return scope.finish({}, residual, true, "with the upper objective added, " + penalized.message);
  }
  const Tensor at_penalized = oracles.lower().gradient(lower).x;
  return scope.finish(oracles.upper().gradient(upper).x + lambda * (at_penalized - at_w), residual, false,
                      "");
}

}  // namespace bilevel
