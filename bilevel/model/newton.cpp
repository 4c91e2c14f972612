#include "bilevel/model/newton.h"

#include <algorithm>
#include <cmath>

namespace bilevel {

NewtonResult newton(const ConvexFunction& function, const torch::Tensor& start,
                    const NewtonOptions& options) {
  constexpr int kHalvings = 40;
  const torch::NoGradGuard no_grad;
  torch::Tensor y = start.detach().clone();
  auto [value, gradient] = function.value_and_gradient(y);
  double norm = gradient.norm().item<double>();
  const double first = norm;
  const double enough = 1e-9 * (1 + first);
  const auto is_enough = [&] { return options.enough && options.enough(gradient); };
  int64_t steps = 0;
  for (; steps < options.max_steps && norm > 0 && std::isfinite(norm) && !is_enough(); ++steps) {
    // Far from the minimum a rough step is as good; near it, the steps must converge quadratically.
    const torch::Tensor step = function.solve(y, gradient, std::clamp(norm / (1 + first), 1e-12, 1e-2));
    const double slope = gradient.dot(step).item<double>();
    bool moved = false;
    double scale = 1;
    for (int halving = 0; halving < kHalvings && !moved; ++halving, scale *= 0.5) {
      const torch::Tensor next = y - scale * step;
      const auto [next_value, next_gradient] = function.value_and_gradient(next);
      const double next_norm = next_gradient.norm().item<double>();
      // Near the minimum the value no longer tells two points apart, but the gradient's norm does.
      const bool lower = next_value <= value - 1e-4 * scale * slope ||
                         (next_norm < 0.5 * norm && next_value <= value + 1e-12 * (1 + std::abs(value)));
      if (!lower || (norm <= enough && next_norm >= 0.5 * norm)) {
        if (norm <= enough) break;  // round-off
        continue;
      }
      y = next;
      value = next_value;
      gradient = next_gradient;
      norm = next_norm;
      moved = true;
    }
    if (!moved) break;
  }
  return {.y = y, .steps = steps, .converged = norm <= enough || is_enough()};
}

torch::Tensor minimize(const ConvexFunction& function, const torch::Tensor& start) {
  const NewtonResult found = newton(function, start);
  return found.converged ? found.y : torch::full_like(found.y, NAN);
}

torch::Tensor solve_by_conjugate_gradients(const std::function<torch::Tensor(const torch::Tensor&)>& hessian,
                                           const torch::Tensor& diagonal, const torch::Tensor& b,
                                           double tolerance) {
  const torch::NoGradGuard no_grad;
  torch::Tensor z = torch::zeros_like(b), residual = b.clone();
  torch::Tensor direction = residual / diagonal;
  double product = residual.dot(direction).item<double>();
  const double enough = tolerance * b.norm().item<double>();
  torch::Tensor best = z;
  double best_norm = b.norm().item<double>();
  for (int64_t k = 0; k < std::max<int64_t>(100, 2 * b.numel()) && best_norm > enough; ++k) {
    const torch::Tensor image = hessian(direction);
    const double rate = product / direction.dot(image).item<double>();
    if (!std::isfinite(rate)) break;
    z = z + rate * direction;
    residual = residual - rate * image;
    const double norm = residual.norm().item<double>();
    if (norm < best_norm) {
      best = z;
      best_norm = norm;
    }
    const torch::Tensor scaled = residual / diagonal;
    const double next = residual.dot(scaled).item<double>();
    direction = scaled + (next / product) * direction;
    product = next;
  }
  return best;
}

}  // namespace bilevel
