#include "bilevel/glm/proximal_fit.h"

#include <cmath>
#include <memory>

namespace bilevel {
namespace {

/// L's smooth part at a point.
struct Expansion {
  torch::Tensor y, gradient;
  double value = 0;
};

class ProximalSteps {
 public:
  ProximalSteps(Derivatives& loss, const Batch& batch, const torch::Tensor& x,
                const torch::Tensor& thresholds, const ProximalFitOptions& options)
      : loss_(loss), batch_(batch), x_(x), thresholds_(thresholds), options_(options) {}

  ProximalFit execute(const torch::Tensor& start) {
    const double goal = options_.tolerance * at(torch::zeros_like(start)).gradient.abs().max().item<double>();
    torch::Tensor y = start.detach().clone();
    Expansion ahead = at(y);
    double momentum = 1;
    while (made_ < options_.evaluations) {
      const torch::Tensor next = step(ahead);
      const torch::Tensor moved = next - ahead.y;
      const bool near = curvature_ * moved.abs().max().item<double>() <= goal;
      const bool up = moved.dot(next - y).item<double>() < 0;
      const double following = (1 + std::sqrt(1 + 4 * momentum * momentum)) / 2;
      const torch::Tensor further = up ? next : next + (momentum - 1) / following * (next - y);
      momentum = up ? 1 : following;
      y = next;
      if (near) break;
      ahead = at(further);
    }
    return {y, made_};
  }

 private:
  Expansion at(const torch::Tensor& y) {
    ++made_;
    Expansion found{y, torch::zeros_like(y)};
    const std::unique_ptr<PointDerivatives> point = loss_.at(batch_, x_, y);
    found.value = point->value();
    point->gradient({}, {&found.gradient});
    return found;
  }
  double value(const torch::Tensor& y) {
    ++made_;
    return loss_.at(batch_, x_, y)->value();
  }
  /// A proximal step from a point, as long as a parabola of its curvature stays above L.
  torch::Tensor step(const Expansion& from) {
    constexpr double kSlack = 1e-6;  // of L: below that float32 tells no difference
    for (;; curvature_ *= 2) {
      const torch::Tensor plain = from.y - from.gradient / curvature_;
      const torch::Tensor next = plain.sign() * (plain.abs() - thresholds_ / curvature_).clamp_min(0);
      const torch::Tensor moved = next - from.y;
      const double bound = from.value + from.gradient.dot(moved).item<double>() +
                           curvature_ / 2 * moved.square().sum().item<double>();
      if (value(next) <= bound + kSlack * std::abs(from.value) || made_ >= options_.evaluations) return next;
    }
  }

  Derivatives& loss_;
  const Batch& batch_;
  const torch::Tensor &x_, &thresholds_;
  const ProximalFitOptions& options_;
  double curvature_ = 1;
  int64_t made_ = 0;
};

}  // namespace

ProximalFit proximal_fit(Derivatives& loss, const Batch& batch, const torch::Tensor& x,
                         const torch::Tensor& start, const torch::Tensor& thresholds,
                         const ProximalFitOptions& options) {
  const torch::NoGradGuard no_grad;
  return ProximalSteps(loss, batch, x, thresholds, options).execute(start);
}

}  // namespace bilevel
